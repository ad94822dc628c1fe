"""What could be asked, what an answer would repair, and what it costs."""
