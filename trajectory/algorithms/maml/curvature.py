"""Derivatives of an MLP policy's loss and divergence, first and second, written out layer by layer.

Automatic differentiation gives the same numbers at more than twice the time: it keeps and reads what these formulas
need not. W_l are the weights of layer l, h_l its inputs, z_l = W_l h_l + b_l, h_{l+1} = σ(z_l); δ_l is the derivative
of the loss in z_l. All hold a feature in a row and a step in a column, because products of narrow matrices are several
times faster so. R· is the derivative along a vector of parameters V (Pearlmutter 1994):

    Rz_l = V_l h_l + W_l Rh_l + v_l               Rh_{l+1} = σ'(z_l) Rz_l
    δ_{l-1} = σ'(z_{l-1}) W_lᵀ δ_l                Rδ_{l-1} = σ' (V_lᵀ δ_l + W_lᵀ Rδ_l) + σ'' Rz_{l-1} W_lᵀ δ_l
    ∇W_l = δ_l h_lᵀ                               R∇W_l = Rδ_l h_lᵀ + δ_l Rh_lᵀ
"""

import math

import torch
from torch import Tensor

from trajectory.models.policies import MIN_STD, CategoricalMLPPolicy, NormalMLPPolicy, Params, Policy


class PolicyDerivatives:
    """L = -mean(A log π) of M tasks, each with parameters of its own, and what is kept for its derivatives.

    params       : [ M x ... ] by name
    observations : [ M x N x o ]
    actions      : [ M x N x a ], or [ M x N ] whole numbers
    advantages   : [ M x N ]
    mask         : [ M x N ]
    gradient     : of L, [ M x ... ] by name
    """

    def __init__(
        self, policy: Policy, params: Params, observations: Tensor, actions: Tensor, advantages: Tensor, mask: Tensor
    ):
        self.layers = policy.layers
        self.is_tanh = policy.nonlinearity is torch.tanh
        self.weights = [params[f'{layer}.weight'] for layer in self.layers]
        self.shares = mask / mask.sum(1, keepdim=True)
        outputs = self._forward(params, observations)
        if isinstance(policy, NormalMLPPolicy):
            self.head = _NormalHead(outputs, params['sigma'], actions, advantages * self.shares, self.shares)
        else:
            assert isinstance(policy, CategoricalMLPPolicy)
            self.head = _CategoricalHead(outputs, actions, advantages * self.shares, self.shares)
        self.gradient = self._backward()
        self.names = list(params)

    def _forward(self, params, observations):
        self.inputs, self.slopes, features = [], [], observations.mT.contiguous()
        for layer, weight in zip(self.layers, self.weights, strict=True):
            self.inputs.append(features)
            outputs = torch.baddbmm(params[f'{layer}.bias'].unsqueeze(2), weight, features)
            if layer != self.layers[-1]:
                features = outputs.tanh_() if self.is_tanh else outputs.relu_()
                self.slopes.append(1 - features**2 if self.is_tanh else (features > 0).to(features))
        return outputs

    def _backward(self):
        outer, of_sigma = self.head.gradient()
        self.deltas, self.signals, gradient = [outer], [], of_sigma
        for layer in range(len(self.layers) - 1, -1, -1):
            delta = self.deltas[0]
            self._put(gradient, layer, _outer(delta, self.inputs[layer]), delta.sum(2))
            if layer:
                self.signals.insert(0, self.weights[layer].mT @ delta)
                self.deltas.insert(0, self.signals[0] * self.slopes[layer - 1])
        return gradient

    def _put(self, gradient, layer, weight, bias):
        gradient[f'{self.layers[layer]}.weight'] = weight
        gradient[f'{self.layers[layer]}.bias'] = bias

    def _tangents(self, vectors):
        """Rh of each layer's inputs but the first's, and Rz of the last."""
        tangents, tangent = [], None
        for layer, name in enumerate(self.layers):
            moved = torch.baddbmm(vectors[f'{name}.bias'].unsqueeze(2), vectors[f'{name}.weight'], self.inputs[layer])
            if tangent is not None:
                moved.baddbmm_(self.weights[layer], tangent)
            if layer < len(self.slopes):
                tangent = moved.mul_(self.slopes[layer])
                tangents.append(tangent)
        return tangents, moved

    def hessian_product(self, vectors: Params) -> dict[str, Tensor]:
        """∇²L v of each task.    vectors : [ M x ... ] by name"""
        tangents, moved = self._tangents(vectors)
        delta, product = self.head.hessian_product(moved, vectors)
        for layer in range(len(self.layers) - 1, -1, -1):
            weight = _outer(delta, self.inputs[layer])
            if layer:
                weight += _outer(self.deltas[layer], tangents[layer - 1])
            self._put(product, layer, weight, delta.sum(2))
            if layer:
                name = self.layers[layer]
                delta = (vectors[f'{name}.weight'].mT @ self.deltas[layer]).baddbmm_(self.weights[layer].mT, delta)
                delta.mul_(self.slopes[layer - 1])
                if self.is_tanh:  # σ'' Rz = -2 h σ' Rz = -2 h Rh
                    delta.addcmul_(self.inputs[layer] * tangents[layer - 1], self.signals[layer - 1], value=-2)
        return product

    def fisher_product(self, vectors: Params) -> dict[str, Tensor]:
        """∇²KL v of each task, of the divergence from these parameters at these parameters.

        vectors : [ M x ... ] by name
        """
        _, moved = self._tangents(vectors)
        delta, product = self.head.fisher_product(moved, vectors)
        for layer in range(len(self.layers) - 1, -1, -1):
            self._put(product, layer, _outer(delta, self.inputs[layer]), delta.sum(2))
            if layer:
                delta = (self.weights[layer].mT @ delta).mul_(self.slopes[layer - 1])
        return product


def _outer(deltas, inputs):
    """Sums over the steps of δ hᵀ.    deltas : [ M x d x N ]    inputs : [ M x h x N ]    returns : [ M x d x h ]

    A product of matrices is several times faster with the narrower one on the left.
    """
    if deltas.shape[1] <= inputs.shape[1]:
        return deltas @ inputs.mT
    return (inputs @ deltas.mT).mT


class _NormalHead:
    """log π = Σ_d -((a - μ) / s)² / 2 - ψ - log √2π with s = exp ψ; ψ is sigma, constant where it is clamped.

    means : [ M x a x N ]    weights : A / n of each step    shares : 1 / n, and 0 for steps not taken; both [ M x N ]
    """

    def __init__(self, means, sigma, actions, weights, shares):
        self.precision = torch.exp(-2 * sigma.clamp(min=math.log(MIN_STD))).unsqueeze(2)  # [ M x a x 1 ]
        self.free = (sigma >= math.log(MIN_STD)).to(sigma)
        gaps = actions.mT - means
        self.gaps = gaps * self.precision  # (a - μ) / s²
        self.squares = self.gaps * gaps  # ((a - μ) / s)²
        self.weights, self.shares = weights.unsqueeze(1), shares.unsqueeze(1)

    def gradient(self):
        of_sigma = (self.weights * (1 - self.squares)).sum(2) * self.free
        return -self.weights * self.gaps, {'sigma': of_sigma}

    def hessian_product(self, moved, vectors):
        turned = (vectors['sigma'] * self.free).unsqueeze(2)
        delta = self.weights * (self.precision * moved + 2 * self.gaps * turned)
        of_sigma = (self.weights * 2 * (self.gaps * moved + self.squares * turned)).sum(2) * self.free
        return delta, {'sigma': of_sigma}

    def fisher_product(self, moved, vectors):
        of_sigma = 2 * self.shares.sum(2) * vectors['sigma'] * self.free
        return self.shares * self.precision * moved, {'sigma': of_sigma}


class _CategoricalHead:
    """log π = z_a - log Σ exp z.    logits : [ M x a x N ]    weights, shares : as above"""

    def __init__(self, logits, actions, weights, shares):
        self.probs = logits.softmax(1)
        self.chosen = torch.nn.functional.one_hot(actions, logits.shape[1]).mT.to(logits)
        self.weights, self.shares = weights.unsqueeze(1), shares.unsqueeze(1)

    def gradient(self):
        return self.weights * (self.probs - self.chosen), {}

    def _covariance_product(self, moved):
        scaled = self.probs * moved
        return scaled - self.probs * scaled.sum(1, keepdim=True)

    def hessian_product(self, moved, vectors):
        return self.weights * self._covariance_product(moved), {}

    def fisher_product(self, moved, vectors):
        return self.shares * self._covariance_product(moved), {}
