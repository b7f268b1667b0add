"""The networks. `import diffvqa.models` makes them known to the Auto classes of transformers.

`import diffvqa` alone does not: it would have to wait for torch, and the command line's help with it.
"""

from diffvqa.models import captioner, difference, hybrid

__all__ = ["captioner", "difference", "hybrid"]
