"""What protects the people behind the data: pseudonyms, consent, clean texts, erasure and its proof."""
