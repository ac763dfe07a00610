"""Released policies that act as they are: folders of transformers' model type `pi0`."""
