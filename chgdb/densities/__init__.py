"""Structure -> density: superposition of atoms, a learned model of the difference, its training.

    harmonics basis graph      functions on atoms, and who is whose neighbour
    architecture               sizes of the network; `network` has it in torch, `inference` in numpy
    summation guess            from coefficients to a density on a grid
    model calibration domain   the model's file, its errors, what it was trained on
    samples training ensemble  how it is trained
    atoms                      form factors of other potentials
    evaluation                 how good it is

`chgdb.estimate` is the way in.
"""
