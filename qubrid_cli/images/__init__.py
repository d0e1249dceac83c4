"""An argument becomes a picture that may be sent: found, decoded, shrunk, freed of metadata."""
