"""What only Linux can tell us, behind one door: who is at the other end of a socket."""
