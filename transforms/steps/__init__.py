"""The steps that score clips, one in each module: what :mod:`~finecut.transforms.step_base` says.

A module that is put here is found (:mod:`~finecut.transforms.registry`): its options, flags, rules,
columns and the rest follow from it.
"""
