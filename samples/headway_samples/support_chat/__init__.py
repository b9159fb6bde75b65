"""Sample: an interactive support chat that pauses until the person has answered."""
