"""MLA: multimodal representation learning by alternating unimodal adaptation."""
