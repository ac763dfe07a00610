"""Raw data sets of CALVIN and LIBERO, written as LeRobot v3.0."""
