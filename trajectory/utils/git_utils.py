"""Record which code a run used: the commit, and what had been changed since.

Outside a repository, or on a machine without git, there is nothing to record, and that is no error.
"""

import logging
from pathlib import Path

from trajectory.utils.files import write_atomically

logger = logging.getLogger(__name__)


def get_repo(path=__file__):
    """Return the repository that tracks `path` (by default this code), or None."""
    try:
        import git
    except ImportError:  # raised for a missing git program, too
        return None
    try:
        repo = git.Repo(path, search_parent_directories=True)
        return repo if repo.git.ls_files('--', str(Path(path).resolve())) else None
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    except git.GitCommandError as error:  # such as git's refusal to enter a folder of another user
        logger.warning('no commit is recorded: %s', str(error.stderr).strip())
        return None


def get_git_rev(path=__file__) -> str | None:
    """Return the hash of the commit that is checked out, or None."""
    repo = get_repo(path)
    return repo.head.commit.hexsha if repo and repo.head.is_valid() else None


def git_diff(path=__file__) -> str | None:
    """Return what differs from that commit, as a patch that `git apply` takes, or None."""
    if get_git_rev(path) is None:
        return None
    return get_repo(path).git.diff('HEAD', '--no-color', '--no-ext-diff', strip_newline_in_stdout=False)


def save_git_diff(savepath, path=__file__):
    """Write the patch to `savepath`, if there is a repository."""
    patch = git_diff(path)
    if patch is not None:
        with write_atomically(savepath) as partial:
            partial.write_text(patch, encoding='utf-8', errors='surrogateescape', newline='')
