"""`parlando doctor`: checks what a cluster needs, before its first start or while it runs."""
