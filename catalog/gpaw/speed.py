"""The same results from GPAW 22.8 in less time: loops become array operations, and nothing is computed twice.

Beside `worker.py`, which runs it; needs GPAW, numpy and scipy, nothing of chgdb.  Other releases are left unchanged.
"""

import numpy as np
import single_precision

RELEASE = "22.8"  # these functions replace its internals


def save_time(start="grid", far=None, single=None, coarse=None, quick=None):
    """Replace functions of GPAW. True if this is the release that they are made for.

    start: "plane waves" also replaces the making of the first wave functions.
    far: the error of the density, per electron, above which the wave functions are improved once in an iteration and
        not twice.
    single: the error above which they are improved in single precision; 0 for always.
    coarse, quick: the errors above which that is done on a coarser grid, or on a finer one that FFTW is quick with.
    A converged result does not depend on any of these. The point where a loose convergence stops does.
    """
    import gpaw

    if not gpaw.__version__.startswith(RELEASE):
        return False
    from gpaw.density import Density
    from gpaw.eigensolvers.davidson import Davidson
    from gpaw.lfc import BasisFunctions
    from gpaw.scf import SCFLoop
    from gpaw.wavefunctions.pw import PWWaveFunctions
    from gpaw.xc.gga import GGA, GGARadialExpansion

    BasisFunctions.calculate_potential_matrices = _once(BasisFunctions.calculate_potential_matrices)
    if start == "plane waves":
        PWWaveFunctions.initialize_wave_functions_from_basis_functions = _start_in_plane_waves
    PWWaveFunctions.apply_pseudo_hamiltonian = _hamiltonian(PWWaveFunctions.apply_pseudo_hamiltonian)
    PWWaveFunctions.add_to_density_from_k_point_with_occupation = _density(
        PWWaveFunctions.add_to_density_from_k_point_with_occupation
    )
    Davidson.iterate_one_k_point = _davidson(Davidson.iterate_one_k_point)
    if far is not None or single is not None:
        SCFLoop.iterate_eigensolver = _as_needed(SCFLoop.iterate_eigensolver, far, single, (coarse, quick))
    SCFLoop.iterate_eigensolver = _tell_symmetry(SCFLoop.iterate_eigensolver)
    GGA.calculate_paw_correction = _once_for_equivalent_atoms(GGA.calculate_paw_correction)
    GGARadialExpansion.__call__ = _exchange_correlation(GGARadialExpansion.__call__)
    Density.get_spin_contamination = lambda self, atoms, majority_spin=0: float("nan")  # only printed
    return True


def _once(compute_matrices):
    """Matrix elements of the potential in the basis, computed once for each potential.

    The starting wave functions of a spin-polarised run ask for them at every k-point, though they depend on the spin
    alone.  That takes up to half of a small run's time.
    """

    def calculate_potential_matrices(self, vt_G):
        seen = self.__dict__.setdefault("_matrices_of", {})
        key = vt_G.tobytes()
        if key not in seen:
            seen[key] = compute_matrices(self, vt_G)
        return seen[key]

    return calculate_potential_matrices


def _start_in_plane_waves(self, basis_functions, density, hamiltonian, spos_ac):
    """Starting wave functions: the best combinations of atomic orbitals. Returns how many there are.

    GPAW finds them on the real-space grid and by integrals over pairs of atoms.  Here orbitals are wave functions like
    any others.  The two starts differ by what plane waves and grid cannot resolve.
    """
    from functools import partial

    from gpaw.pw.lfc import PWLFC
    from gpaw.wavefunctions.pw import PlaneWaveExpansionWaveFunctions
    from scipy.linalg import eigh

    orbitals = PWLFC([setup.phit_j for setup in self.setups], self.pd)
    orbitals.set_positions(spos_ac)
    wave_functions = partial(PlaneWaveExpansionWaveFunctions, pd=self.pd, dtype=self.dtype, collinear=self.collinear)
    number = min(self.setups.nao, self.bd.nbands)
    each_M = {a: np.eye(self.setups.nao)[:, I1:I2] for a, I1, I2 in orbitals.my_indices}
    for kpt in self.kpt_u:
        phit, Hphit = (wave_functions(self.setups.nao, kpt=kpt.q, spin=kpt.s) for _ in range(2))
        phit.array[:] = 0.0
        orbitals.add(phit.array, each_M, kpt.q)
        P = kpt.projections.new(nbands=self.setups.nao)
        P2 = P.new()
        phit.matrix_elements(self.pt, out=P)
        hamiltonian_on = partial(self.apply_pseudo_hamiltonian, kpt, hamiltonian)
        H_MM = phit.matrix_elements(operator=hamiltonian_on, result=Hphit, symmetric=True, cc=True).array
        hamiltonian.dH(P, out=P2)
        H_MM = H_MM + P.array @ P2.array.conj().T
        S_MM = phit.matrix_elements(symmetric=True, cc=True).array
        self.setups.dS.apply(P, out=P2)
        S_MM = S_MM + P.array @ P2.array.conj().T
        C_Mn = eigh(H_MM.conj(), S_MM.conj())[1][:, :number]
        kpt.psit = wave_functions(self.bd.nbands, kpt=kpt.q, spin=kpt.s, dist=(self.bd.comm, -1, 1))
        kpt.psit.array[:number] = C_Mn.T @ phit.array
    if number < self.bd.nbands:
        self.random_wave_functions(number)
    return number


def _hamiltonian(of_gpaw):
    """The Hamiltonian without its PAW corrections, applied to wave functions.

    The potential multiplies the real and imaginary parts of a complex wave function, and does not become complex.
    """

    def apply_pseudo_hamiltonian(self, kpt, ham, psit_xG, Htpsit_xG):
        if not self.collinear or self.gd.comm.size > 1:
            of_gpaw(self, kpt, ham, psit_xG, Htpsit_xG)
            return
        pd, v_R = self.pd, ham.vt_sG[kpt.s]
        if pd.dtype == complex:
            v_R = np.repeat(v_R, 2, axis=2)
        psit_R = pd.tmp_R.view(float)
        Q_G, T_G = pd.Q_qG[kpt.q].astype(np.intp), 0.5 * pd.G2_qG[kpt.q]
        vpsit_Q, vpsit_G = pd.tmp_Q.reshape(-1), np.empty(len(Q_G), complex)
        for psit_G, Htpsit_G in zip(psit_xG, Htpsit_xG, strict=True):
            pd.ifft(psit_G, kpt.q, local=True, safe=False)
            np.multiply(psit_R, v_R, out=psit_R)
            pd.fftplan.execute()
            np.take(vpsit_Q, Q_G, out=vpsit_G, mode="clip")  # the other modes make a copy first
            np.multiply(T_G, psit_G, out=Htpsit_G)
            Htpsit_G += vpsit_G
        ham.xc.apply_orbital_dependent_hamiltonian(kpt, psit_xG, Htpsit_xG, ham.dH_asp)

    return apply_pseudo_hamiltonian


def _density(of_gpaw):
    """The density of wave functions at one k-point, without the empty bands.

    It is in single precision as long as the wave functions are improved in it.
    """

    def add_to_density_from_k_point_with_occupation(self, nt_xR, kpt, f_n):
        rounded = getattr(getattr(self, "eigensolver", None), "rounded", None)
        if rounded is None:
            of_gpaw(self, nt_xR, kpt, f_n)
        else:
            rounded.add_density(nt_xR[kpt.s], kpt, f_n)

    return add_to_density_from_k_point_with_occupation


def _davidson(of_gpaw):
    """Block Davidson steps at one k-point.

    The Hamiltonian of the new wave functions is the same combination as the new wave functions are, of its results for
    the old ones and for the corrections.  GPAW applies it again before every further step.
    """
    from functools import partial

    from gpaw.matrix import matrix_matrix_multiply as mmm

    def iterate_one_k_point(self, ham, wfs, kpt, weights):
        """Improve `kpt.psit` by `self.niter` steps. Returns the weighted squared residuals before the last one."""
        if wfs.bd.comm.size > 1 or wfs.gd.comm.size > 1 or not wfs.collinear or not self.keep_htpsit:
            return of_gpaw(self, ham, wfs, kpt, weights)
        rounded = getattr(self, "rounded", None)
        if rounded is not None:
            try:
                return rounded.steps(ham, wfs, kpt, weights, self.niter)
            except np.linalg.LinAlgError:  # the corrections are linearly dependent in single precision
                single_precision.restore(wfs, kpt)
                wfs.orthonormalize(kpt)
        hamiltonian = partial(wfs.apply_pseudo_hamiltonian, kpt, ham)
        self.subspace_diagonalize(ham, wfs, kpt)
        psit, P, B = kpt.psit, kpt.projections, wfs.bd.nbands
        if not hasattr(self, "buffers"):
            self.buffers = [np.empty_like(self.Htpsit_nG) for _ in range(2)]
        Htpsit, psit2 = psit.new(buf=self.Htpsit_nG), psit.new(buf=wfs.work_array)
        R, Htpsit2 = (psit.new(buf=buffer) for buffer in self.buffers)
        P2, P3, M = P.new(), P.new(), wfs.work_matrix_nn

        def with_projections(left, right):
            mmm(1.0, left, "N", right, "C", 1.0, M)
            return M.array.conj()

        def combine(old, new, out):
            for C_nn, part, kept in ((self.H_NN[:B, :B], old, 0.0), (self.H_NN[B:, :B], new, 1.0)):
                M.array[:] = C_nn.T
                mmm(1.0, M, "N", part, "N", kept, out)

        for steps_after in reversed(range(self.niter)):
            R[:] = Htpsit
            self.calculate_residuals(kpt, wfs, ham, psit, P, kpt.eps_n, R, P2)
            if not steps_after:
                error = np.dot(weights, [wfs.integrate(R_G, R_G, global_integral=False).real for R_G in R.array])
            ekin_n = self.preconditioner.calculate_kinetic_energy(psit.array, kpt)
            self.preconditioner(R.array, kpt, ekin_n, out=psit2.array)
            psit2.matrix_elements(wfs.pt, out=P2)

            self.H_NN[:B, :B], self.S_NN[:B, :B] = np.diag(kpt.eps_n), np.eye(B)
            psit2.matrix_elements(operator=hamiltonian, result=Htpsit2, out=M, symmetric=True, cc=True)
            ham.dH(P2, out=P3)
            self.H_NN[B:, B:] = with_projections(P2, P3)
            Htpsit2.matrix_elements(psit, out=M, cc=True)
            self.H_NN[B:, :B] = with_projections(P3, P)
            psit2.matrix_elements(out=M, symmetric=True, cc=True)
            wfs.setups.dS.apply(P2, out=P3)
            self.S_NN[B:, B:] = with_projections(P2, P3)
            psit2.matrix_elements(psit, out=M, cc=True)
            self.S_NN[B:, :B] = with_projections(P3, P)
            self.diagonalizer_backend.diagonalize(self.H_NN, self.S_NN, self.eps_N, is_master=True, debug=False)
            kpt.eps_n[:] = self.eps_N[:B]

            combine(psit, psit2, R)
            psit[:] = R
            combine(P, P2, P3)
            P.matrix, P3.matrix = P3.matrix, P.matrix
            if steps_after:
                combine(Htpsit, Htpsit2, R)
                Htpsit[:] = R
        return error

    return iterate_one_k_point


def _as_needed(iterate, far, single, limits):
    """An iteration of the density, as exact as necessary. far, single: as in `save_time`; limits: coarse and quick.

    The first iteration always has two Davidson steps, because the wave functions are then further off than the density.
    """

    def iterate_eigensolver(self, wfs, ham, dens):
        solver, first = wfs.eigensolver, self.niter == 1
        error = np.inf if dens.error is None else dens.error / wfs.nvalence
        if far is not None:
            solver.niter = 2 if first or error <= far else 1
        if first:
            solver.rounded = None if single is None else single_precision.solver(wfs)
        if solver.rounded is not None:
            last = solver.rounded.refine(error, limits)
            if error <= single:
                solver.rounded = None
            if last or error <= single:
                for kpt in wfs.kpt_u:
                    single_precision.restore(wfs, kpt)
                wfs.orthonormalized = False  # GPAW does that before it goes on
        iterate(self, wfs, ham, dens)

    return iterate_eigensolver


def _tell_symmetry(iterate):
    """An iteration that tells `_once_for_equivalent_atoms` which atoms are equivalent."""

    def iterate_eigensolver(self, wfs, ham, dens):
        if self.niter == 1:
            ham.xc.atoms_of_symmetries, ham.xc.spheres = wfs.kd.symmetry.a_sa, {}
        iterate(self, wfs, ham, dens)

    return iterate_eigensolver


def _once_for_equivalent_atoms(of_gpaw):
    """Exchange and correlation in the sphere of an atom, turned from an equivalent atom.

    Where the density matrices of the two are not the same but for that turn, the sphere is computed by itself.
    """
    from gpaw.utilities import pack2, unpack, unpack2

    def calculate_paw_correction(self, setup, D_sp, dEdD_sp=None, addcoredensity=True, a=None):
        atoms_s = self.__dict__.get("atoms_of_symmetries")
        if atoms_s is None or dEdD_sp is None or a is None or not addcoredensity:
            return of_gpaw(self, setup, D_sp, dEdD_sp, addcoredensity, a)
        D_sii = unpack2(D_sp)
        for s, b in enumerate(atoms_s[:, a]):
            if b < a and b in self.spheres:
                R_ii, (D2_sii, energy, dE_sii) = setup.R_sii[s], self.spheres[b]
                if np.abs(R_ii @ D2_sii @ R_ii.T - D_sii).max() < 1e-10:
                    dEdD_sp += [pack2(R_ii @ dE_ii @ R_ii.T) for dE_ii in dE_sii]
                    return energy
                break
        dE_sp = np.zeros_like(dEdD_sp)
        energy = of_gpaw(self, setup, D_sp, dE_sp, addcoredensity, a)
        self.spheres[a] = D_sii, energy, unpack(dE_sp)
        dEdD_sp += dE_sp
        return energy

    return calculate_paw_correction


def _exchange_correlation(one_by_one):
    """Exchange and correlation inside a PAW sphere, all directions of its angular integral at once."""
    from gpaw.sphere.lebedev import Y_nL, weight_n
    from gpaw.xc.gga import GGARadialCalculator
    from gpaw.xc.pawcorrection import rnablaY_nLv

    directions = len(weight_n)

    def expansion(self, rgd, D_sLq, n_qg, nc0_sg):
        """(energy, derivatives (spin, q, L)). The names are those of `gpaw.xc.gga`; n counts directions."""
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
