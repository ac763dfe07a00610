"""One adapter for every vision-language model of transformers that has no adapter of its own.

The model's own forward pass joins image and text and makes positions and masks. Two hooks do the rest: one
puts the action query into the output of the word embedding, the other takes the hidden state before the
output layer, which is not computed (forward.py). Prompts and images come from the checkpoint's own processor,
which is asked once what it does with an image (layout.py). Where a model has an encoder and a
decoder, the encoder reads the prompt and the decoder the action query (encoder_decoder.py).
"""
