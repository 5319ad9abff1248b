"""The same results from GPAW 22.8 in less time: what it computes one by one, all at once, and what it repeats, once.

Beside `gpaw_worker.py`, which runs it; needs GPAW and numpy, nothing of chgdb.  Other releases stay as they are.
"""

import numpy as np

RELEASE = "22.8"  # whose internals these functions replace


def save_time(start="grid"):
    """Replace functions of GPAW; True if this is the release that they are made for.

    start: "plane waves" replaces how the first wave functions are made too.  What has converged does not depend on it,
    but where a loose convergence stops does.
    """
    import gpaw

    if not gpaw.__version__.startswith(RELEASE):
        return False
    from gpaw.density import Density
    from gpaw.lfc import BasisFunctions
    from gpaw.wavefunctions.pw import PWWaveFunctions
    from gpaw.xc.gga import GGARadialExpansion

    BasisFunctions.calculate_potential_matrices = _once(BasisFunctions.calculate_potential_matrices)
    if start == "plane waves":
        PWWaveFunctions.initialize_from_lcao_coefficients = _plane_waves_of_orbitals
    GGARadialExpansion.__call__ = _exchange_correlation(GGARadialExpansion.__call__)
    Density.get_spin_contamination = lambda self, atoms, majority_spin=0: float("nan")  # only printed
    return True


def _once(compute_matrices):
    """Matrix elements of the potential in the basis, once for a potential.

    The starting wave functions of a spin-polarised run take them for every k-point anew, though they depend on the
    spin alone: the same numbers, up to half of a small run's time.
    """

    def calculate_potential_matrices(self, vt_G):
        seen = self.__dict__.setdefault("_matrices_of", {})
        key = vt_G.tobytes()
        if key not in seen:
            seen[key] = compute_matrices(self, vt_G)
        return seen[key]

    return calculate_potential_matrices


def _plane_waves_of_orbitals(self, basis_functions, block_size=10):
    """Starting wave functions from their coefficients in atomic orbitals.

    GPAW puts the orbitals on the real-space grid and transforms each wave function; here the orbitals' own Fourier
    transforms are added up, as the projectors' are.  The starts differ by what the grid cannot resolve.
    """
    from gpaw.pw.lfc import PWLFC
    from gpaw.wavefunctions.pw import PlaneWaveExpansionWaveFunctions

    orbitals = PWLFC([setup.phit_j for setup in self.setups], self.pd)
    orbitals.set_positions(self.spos_ac)
    ends = np.cumsum([orbitals.get_function_count(a) for a in range(len(self.setups))])
    for kpt in self.kpt_u:
        kpt.psit = PlaneWaveExpansionWaveFunctions(
            self.bd.nbands, self.pd, self.dtype, kpt=kpt.q,
            dist=(self.bd.comm, -1, 1), spin=kpt.s, collinear=self.collinear,
        )  # fmt: skip
        psit_nG = kpt.psit.array[: len(kpt.C_nM)]
        psit_nG[:] = 0.0
        orbitals.add(psit_nG, dict(enumerate(np.split(kpt.C_nM, ends[:-1], axis=1))), kpt.q)
        kpt.C_nM = None


def _exchange_correlation(one_by_one):
    """Exchange and correlation inside a PAW sphere, all directions of its angular integral at once."""
    from gpaw.sphere.lebedev import Y_nL, weight_n
    from gpaw.xc.gga import GGARadialCalculator
    from gpaw.xc.pawcorrection import rnablaY_nLv

    directions = len(weight_n)

    def expansion(self, rgd, D_sLq, n_qg, nc0_sg):
        """(energy, derivatives (spin, q, L)); the names are those of `gpaw.xc.gga`, n counts directions."""
        if type(self.rcalc) is not GGARadialCalculator:
            return one_by_one(self, rgd, D_sLq, n_qg, nc0_sg)
        n_sLg = np.dot(D_sLq, n_qg)
        n_sLg[:, 0] += nc0_sg
        spins, Lmax, points = n_sLg.shape
        Y, A_nLv = Y_nL[:, :Lmax], rnablaY_nLv[:, :Lmax]
        n_sng = np.matmul(Y, n_sLg)
        a_sng = np.matmul(Y, _derivative(rgd, n_sLg))
        slopes = np.ascontiguousarray(A_nLv.transpose(2, 0, 1)).reshape(3 * directions, Lmax)
        b_svng = np.matmul(slopes, n_sLg).reshape(spins, 3, directions, points)

        sigma_xng = np.empty((2 * spins - 1, directions, points))
        sigma_xng[::2] = np.einsum("svng,svng->sng", b_svng, b_svng)
        if spins == 2:
            sigma_xng[1] = np.einsum("vng,vng->ng", *b_svng)
        sigma_xng[..., 1:] /= rgd.r_g[1:] ** 2
        sigma_xng[..., 0] = sigma_xng[..., 1]
        sigma_xng[::2] += a_sng**2
        if spins == 2:
            sigma_xng[1] += a_sng[0] * a_sng[1]

        e_ng = np.zeros((directions, points))
        dedn_sng, dedsigma_xng = np.zeros_like(n_sng), np.zeros_like(sigma_xng)
        self.rcalc.kernel.calculate(e_ng, n_sng, dedn_sng, sigma_xng, dedsigma_xng)

        gradient = _derivative_of_integral(rgd, -2 * rgd.dv_g * dedsigma_xng[::2] * a_sng)
        if spins == 2:
            gradient -= _derivative_of_integral(rgd, rgd.dv_g * dedsigma_xng[1] * a_sng[::-1])
        gradient[..., 1:] /= rgd.dv_g[1:]
        gradient[..., 0] = gradient[..., 1]
        dedn_sng += gradient
        dedn_sLg = np.matmul((Y * weight_n[:, None]).T, dedn_sng) * rgd.dv_g

        dedsigma_xng *= rgd.dr_g
        B_svng = dedsigma_xng[::2, None] * b_svng
        if spins == 2:
            B_svng += 0.5 * dedsigma_xng[1] * b_svng[::-1]
        weighted = (8 * np.pi * weight_n[:, None, None] * A_nLv).transpose(1, 2, 0).reshape(Lmax, 3 * directions)
        dedn_sLg += np.matmul(weighted, B_svng.reshape(spins, 3 * directions, points))
        return np.dot(weight_n, rgd.integrate(e_ng)), np.matmul(dedn_sLg, n_qg.T).transpose(0, 2, 1)

    return expansion


def _derivative(rgd, n_xg):
    """`rgd.derivative` of many radial functions."""
    dndr_xg = np.empty_like(n_xg)
    dndr_xg[..., 0] = n_xg[..., 1] - n_xg[..., 0]
    dndr_xg[..., 1:-1] = 0.5 * (n_xg[..., 2:] - n_xg[..., :-2])
    dndr_xg[..., -1] = n_xg[..., -1] - n_xg[..., -2]
    return dndr_xg / rgd.dr_g


def _derivative_of_integral(rgd, a_xg):
    """`rgd.derivative2` of many radial functions: the adjoint of `derivative`."""
    c_xg = a_xg / rgd.dr_g
    b_xg = np.empty_like(c_xg)
    b_xg[..., 1:-1] = 0.5 * (c_xg[..., 2:] - c_xg[..., :-2])
    b_xg[..., 0] = 0.5 * c_xg[..., 1] + c_xg[..., 0]
    b_xg[..., 1] = 0.5 * c_xg[..., 2] - c_xg[..., 0]
    b_xg[..., -2] = c_xg[..., -1] - 0.5 * c_xg[..., -3]
    b_xg[..., -1] = -c_xg[..., -1] - 0.5 * c_xg[..., -2]
    return b_xg
