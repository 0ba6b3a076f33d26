"""Where an archive's stores and keys lie, how they are opened, and who may write there."""
