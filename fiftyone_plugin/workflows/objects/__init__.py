"""Which objects are wrong? Detections and polylines as masks, and what was found back on the objects."""
