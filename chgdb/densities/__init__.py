"""A density for a structure: superposition of atoms, a learned model of the difference, its training.

    harmonics basis graph      functions on atoms, and the neighbours of atoms
    architecture               sizes of the network; `network` has it in torch, `inference` in numpy
    summation guess            coefficients to a density on a grid
    model calibration          the model's file, and its errors
    applicability              how like the training set a structure is
    samples training ensemble  training of the model
    atoms                      form factors of other potentials
    evaluation                 errors of estimates against computed densities

Users call `chgdb.estimate`.
"""
