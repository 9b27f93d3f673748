"""The subscriber's side: `pollux watch`, a live ladder in a terminal, lines or JSON elsewhere."""
