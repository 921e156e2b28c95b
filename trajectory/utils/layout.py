"""Name the columns of a transition, so that nobody counts them by hand."""

from dataclasses import dataclass

REWARD_DIM = 1
VALUE_DIM = 1


@dataclass(frozen=True)
class TransitionLayout:
    """One transition is `[ observation | action | reward | value ]`, in that order.

    The value is the discounted sum of the rewards *after* this one, so the columns add up to a return.
    """

    observation_dim: int
    action_dim: int

    @property
    def dim(self) -> int:
        """Numbers, and so tokens, in one transition."""
        return self.observation_dim + self.action_dim + REWARD_DIM + VALUE_DIM

    @property
    def observation(self) -> slice:
        return slice(0, self.observation_dim)

    @property
    def action(self) -> slice:
        return slice(self.observation_dim, self.observation_dim + self.action_dim)

    @property
    def reward(self) -> int:
        return self.observation_dim + self.action_dim

    @property
    def value(self) -> int:
        return self.reward + REWARD_DIM
