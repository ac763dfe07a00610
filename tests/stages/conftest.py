"""The inputs that the tests of training share."""

from training_fixtures import backbone, backbone_settings, demonstrations, questions  # noqa: F401
