"""A density for a structure: superposition of atoms, a learned model of the difference, its training.

    harmonics basis graph      functions on atoms, and the neighbours of atoms
    architecture               sizes of the network; `network` has it in torch, `inference` in numpy
    summation guess            coefficients to a density on a grid
    model calibration domain   the model's file, its errors, what it was trained on
    samples training ensemble  training of the model
    atoms                      form factors of other potentials
    evaluation                 errors of estimates against computed densities

Users call `chgdb.estimate`.
"""
