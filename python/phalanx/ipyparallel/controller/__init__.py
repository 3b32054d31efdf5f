"""What tasks may depend on. (The controller itself is a program: `phalanx cluster`.)"""
