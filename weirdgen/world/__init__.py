"""The synthetic world: a small language with exact truth, a model pretrained on it, and datasets for experiments.

`words` holds the tables, `language` the truth and the documents, `pretrain` the model that ships in `model/`,
`datasets` the rows of the `world_*` experiments. Nothing here finetunes or measures a finetuned model.
"""
