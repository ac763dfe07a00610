"""A checkpoint folder made of a vision encoder and a language model that package registries bring."""
