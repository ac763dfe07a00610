"""Convert the raw datasets of CALVIN and LIBERO to LeRobot v3.0."""
