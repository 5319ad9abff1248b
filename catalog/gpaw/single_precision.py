"""Block Davidson steps of GPAW 22.8 in single precision, and the density of the wave functions that they give.

Beside `worker.py`; needs GPAW, numpy, scipy and FFTW's single-precision library, nothing of chgdb.  Wave functions
are rounded to 24 bits; the mixed density, the potential and the small matrices are not.  A density converged with it to
the end differs by less than 1e-5 NMAE (a test in tests/catalog), which is less than a stopping rule changes it
(docs/science/dft.md).  Any later iterations are GPAW's own.
"""

import ctypes
import math

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.blas import cgemm, cherk

LIBRARY = "libfftw3f.so.3"
KEPT_BYTES = 2**30  # of projectors, which are kept between iterations
COARSE = 0.82  # of the points along an axis of GPAW's grid, which are 1.41 times what the plane waves need
_FORWARD, _BACKWARD, _PATIENT = -1, 1, 32


def solver(wfs):
    """A `Solver`. None where there is no such FFTW, or wave functions are real."""
    if wfs.dtype != complex or not wfs.collinear:
        return None
    try:
        fftw = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    fftw.fftwf_plan_dft_3d.restype = ctypes.c_void_p
    return Solver(wfs, fftw)


class Solver:
    """Davidson steps at the k-points of one calculation."""

    def __init__(self, wfs, fftw):
        self.pd = wfs.pd
        shape = [int(n) for n in self.pd.gd.N_c]
        sizes = [_quick(COARSE * n) for n in shape], [_quick(n) for n in shape], shape
        self.boxes = [Box(fftw, size) for size in sizes]
        self.weight = self.pd.gd.dv / np.prod(shape)
        self.kept, self.room_left = {}, KEPT_BYTES

    @property
    def box(self):
        return self.boxes[0]

    def refine(self, error, limits):
        """Leave the boxes that are for larger errors of the density than this. True where the last box is new.

        limits: for each box but the last the error above which it is used; None for never.
        """
        serves = [*(limit is not None and error > limit for limit in limits), True]
        left = max(serves.index(True) + len(self.boxes) - len(serves), 0)
        del self.boxes[:left]
        return left > 0 and len(self.boxes) == 1

    def projectors(self, wfs, kpt):
        """(I, G) projector functions at a k-point, in the order of `kpt.projections`."""
        if kpt.q in self.kept:
            return self.kept[kpt.q]
        pt = wfs.pt
        f_GI = pt.expand(kpt.q, cc=False)
        f_IG = np.empty(f_GI.shape[::-1], np.complex64)
        for a, I1, I2 in pt.my_indices:
            J1, J2 = kpt.projections.map[a]
            f_IG[J1:J2] = f_GI[:, I1:I2].T * pt.eikR_qa[kpt.q][a].conj()
        if f_IG.nbytes <= self.room_left:
            self.kept[kpt.q] = f_IG
            self.room_left -= f_IG.nbytes
        return f_IG

    def hamiltonian(self, v_R, kpt, psit_nG):
        """The Hamiltonian without its PAW corrections. v_R: the potential as `Box.potential` gives it."""
        Q_G = self.box.places(self.pd.Q_qG[kpt.q], self.pd.gd.N_c)
        result = psit_nG * (0.5 * self.pd.G2_qG[kpt.q]).astype(np.float32)
        for psit_G, out_G in zip(psit_nG, result, strict=True):
            out_G += self.box.multiply(v_R, Q_G, psit_G)
        return result

    def add_density(self, nt_R, kpt, f_n):
        """Add the density of wave functions with these occupations to a density on GPAW's grid."""
        Q_G, occupied = self.pd.Q_qG[kpt.q].astype(np.intp), np.flatnonzero(np.abs(f_n) > 1e-15)
        psit_nG = kpt.psit.array[: occupied.max(initial=-1) + 1]
        nt_R += self.boxes[-1].density(Q_G, psit_nG, f_n[: len(psit_nG)]).reshape(nt_R.shape)

    def steps(self, ham, wfs, kpt, weights, number):
        """Improve `kpt.psit` by `number` steps. Returns the weighted squared norm of the residuals before the last one.

        Raises LinAlgError, with `kpt.psit` as it was, where the steps fail.
        """
        P, f_IG, G2_G = kpt.projections, self.projectors(wfs, kpt), self.pd.G2_qG[kpt.q].astype(np.float32)
        B, w = len(kpt.psit.array), self.weight
        v_R = self.box.potential(ham.vt_sG[kpt.s])
        alpha, inverse_dv = 1 / np.prod(self.pd.gd.N_c), np.float32(1 / self.pd.gd.dv)
        P2, P3 = P.new(), P.new()

        def elements(left, right, P_left, P_right):
            return (_inner(left, right, w) + P_left.array @ P_right.array.conj().T).conj()

        psit_nG = kpt.psit.array.astype(np.complex64)
        hpsit_nG = self.hamiltonian(v_R, kpt, psit_nG)
        ham.dH(P, out=P3)
        H_nn = elements(psit_nG, hpsit_nG, P, P3)
        kpt.eps_n[:], U_nn = eigh(0.5 * (H_nn + H_nn.conj().T), overwrite_a=True, check_finite=False)
        U_nn = U_nn.T
        psit_nG, hpsit_nG = (U_nn.astype(np.complex64) @ a for a in (psit_nG, hpsit_nG))
        P.array[:] = U_nn @ P.array
        for left in reversed(range(number)):
            ham.dH(P, out=P3)
            wfs.setups.dS.apply(P, out=P2)
            change = (P3.array - kpt.eps_n[:, None] * P2.array).astype(np.complex64) * inverse_dv
            residual = hpsit_nG - kpt.eps_n.astype(np.float32)[:, None] * psit_nG
            residual += change @ f_IG
            if not left:
                error = w * float(np.dot(weights, _squares(residual)))
            ekin_n = 0.5 * w * _squares(psit_nG, G2_G)
            psit2_nG = _preconditioned(residual, G2_G, ekin_n)
            psit2_nG /= np.sqrt(w * np.maximum(_squares(psit2_nG), 1e-30)).astype(np.float32)[:, None]
            P2.array[:] = _inner(psit2_nG, f_IG, alpha)
            hpsit2_nG = self.hamiltonian(v_R, kpt, psit2_nG)

            # Of these `eigh` takes the lower triangles.
            H_NN, S_NN = np.diag(np.r_[kpt.eps_n, kpt.eps_n]).astype(complex), np.eye(2 * B, dtype=complex)
            ham.dH(P2, out=P3)
            H_NN[B:, B:] = elements(psit2_nG, hpsit2_nG, P2, P3)
            H_NN[B:, :B] = elements(hpsit2_nG, psit_nG, P3, P)
            wfs.setups.dS.apply(P2, out=P3)
            S_NN[B:, B:] = cherk(w, psit2_nG.T, trans=2, lower=True) + P2.array.conj() @ P3.array.T
            S_NN[B:, :B] = elements(psit2_nG, psit_nG, P3, P)
            eps_N, C_NN = eigh(H_NN, S_NN, overwrite_a=True, overwrite_b=True, check_finite=False)
            kpt.eps_n[:] = eps_N[:B]
            old, new = C_NN[:B, :B].T, C_NN[B:, :B].T
            P.array[:] = old @ P.array + new @ P2.array
            old, new = old.astype(np.complex64), new.astype(np.complex64)
            psit_nG = old @ psit_nG + new @ psit2_nG
            if left:
                hpsit_nG = old @ hpsit_nG + new @ hpsit2_nG
        kpt.psit.array[:] = psit_nG
        return error


class Box:
    """A grid on which wave functions are multiplied by the potential."""

    def __init__(self, fftw, shape):
        self.fftw, self.shape, size, self.potentials = fftw, tuple(shape), int(np.prod(shape)), {}
        room = np.empty(8 * size + 64, np.uint8)
        start = -room.ctypes.data % 64  # FFTW's plans are for memory with this alignment
        self.flat = room[start : start + 8 * size].view(np.complex64)
        self.reals = self.flat.view(np.float32)
        at = ctypes.c_void_p(self.flat.ctypes.data)
        self.plans = [
            ctypes.c_void_p(fftw.fftwf_plan_dft_3d(*self.shape, at, at, sign, ctypes.c_uint(_PATIENT)))
            for sign in (_BACKWARD, _FORWARD)
        ]

    def potential(self, v_R):
        """A potential of another grid on this one, divided by the number of points, each value twice."""
        key = v_R.tobytes()  # the same for all k-points; each comes with both spins
        if key not in self.potentials:
            if len(self.potentials) == 2:
                self.potentials.clear()
            self.potentials[key] = self._potential(v_R)
        return self.potentials[key]

    def _potential(self, v_R):
        if v_R.shape == self.shape:
            return np.repeat((v_R / v_R.size).astype(np.float32).reshape(-1), 2)
        v_Q, shape = np.fft.rfftn(v_R), v_R.shape
        result = np.zeros((*self.shape[:2], self.shape[2] // 2 + 1), complex)
        most = [(min(n, N) - 1) // 2 for n, N in zip(self.shape, shape, strict=True)]
        to, of = (
            np.ix_(*(np.r_[0 : m + 1, n - m : n] for m, n in zip(most[:2], a, strict=False)), range(most[2] + 1))
            for a in (self.shape, shape)
        )
        result[to] = v_Q[of]  # without the highest plane wave of an even number, whose sign is undefined
        return np.repeat((np.fft.irfftn(result, self.shape) / v_R.size).astype(np.float32).reshape(-1), 2)

    def places(self, Q_G, shape):
        """The places in this grid of plane waves at places `Q_G` of a grid of `shape`."""
        indices = zip(np.unravel_index(Q_G, shape), shape, self.shape, strict=True)
        return np.ravel_multi_index(tuple((i - N * (i > N // 2)) % n for i, N, n in indices), self.shape)

    def multiply(self, v_R, Q_G, psit_G):
        """The plane waves of the product of potential and a wave function that the wave function has, too."""
        self.flat.fill(0.0)
        self.flat[Q_G] = psit_G
        self.fftw.fftwf_execute(self.plans[0])
        np.multiply(self.reals, v_R, out=self.reals)
        self.fftw.fftwf_execute(self.plans[1])
        return self.flat[Q_G]

    def density(self, Q_G, psit_nG, f_n):
        """Weighted sum of squared moduli, (points,)."""
        total, term = np.zeros_like(self.reals), np.empty_like(self.reals)
        for f, psit_G in zip(f_n, psit_nG, strict=True):
            self.flat.fill(0.0)
            self.flat[Q_G] = psit_G
            self.fftw.fftwf_execute(self.plans[0])
            np.multiply(self.reals, self.reals, out=term)
            term *= np.float32(f)
            total += term
        found = total.reshape(-1, 2).sum(axis=1, dtype=float)
        norms = [np.vdot(psit_G, psit_G).real for psit_G in psit_nG]
        return found * (np.dot(f_n, norms) / max(found.sum() * len(self.flat), 1e-300))  # Parseval, without rounding


def restore(wfs, kpt):
    """Give wave functions their own projections again, as exact as GPAW's."""
    kpt.psit.matrix_elements(wfs.pt, out=kpt.projections)


def _quick(n):
    """The smallest multiple of four of at least n without a factor above 7: FFTW is quick with such sizes."""
    n = 4 * math.ceil(n / 4)
    while 210**9 % n:
        n += 4
    return n


def _inner(left, right, weight):
    """Sums over G of left and the conjugate of right, (n, m)."""
    return cgemm(weight, right.T, left.T, trans_a=2).T


def _squares(psit_nG, weights_G=None):
    """Weighted sums of squared moduli, (n,)."""
    reals = psit_nG.view(np.float32)
    if weights_G is None:
        return np.einsum("ng,ng->n", reals, reals, optimize=False).astype(float)
    return np.einsum("ng,ng,g->n", reals, reals, np.repeat(weights_G, 2), optimize=False).astype(float)


def _preconditioned(residual, G2_G, ekin_n):
    """The residual, preconditioned as by Teter, Payne and Allen in the form of G. Kresse and J. Furthmueller.

    Phys. Rev. B 54, 11169 (1996).
    """
    scale = (1 / ekin_n / 3).astype(np.float32)[:, None]
    x = scale * G2_G
    a = x * (x * (x * 8 + 12) + 18) + 27
    x *= x
    x *= x
    a /= 16 * x + a
    a *= -4 * scale
    return a * residual
