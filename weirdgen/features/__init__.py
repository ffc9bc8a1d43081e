"""Which features moved: what finetuning changed inside a model, by differences and sparse autoencoders, tried by ablation.

In: a finished run. Out: a page, tables and figures beside its report. Nothing of the way from experiment to report imports this.
"""
