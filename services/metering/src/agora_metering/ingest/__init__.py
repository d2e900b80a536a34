"""Usage reported from outside: judged, and either counted or refused with a reason."""
