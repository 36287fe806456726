"""The devices of one trial: what they must be able to do, how they compute, and several that share the encoders' work.

``checks`` looks before a run starts; ``fabric`` sets up device and precision; ``processes`` starts one process per
device, in which ``data_parallel`` shares out each batch; ``compilation`` is ``--compile``. Only ``one_trial`` and the
face of :mod:`mlabench.training` use them.
"""
