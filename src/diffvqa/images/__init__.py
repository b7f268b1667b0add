"""Image files to grey pixels, and grey pixels to squares of one size."""

from diffvqa.images.opening import ImageFile
from diffvqa.images.reading import read_image, read_squares
from diffvqa.images.shape import MAXIMUM_PIXELS, Seen, UnreadableImage, not_a_radiograph
from diffvqa.images.squares import letterbox

__all__ = [
    "MAXIMUM_PIXELS",
    "ImageFile",
    "Seen",
    "UnreadableImage",
    "letterbox",
    "not_a_radiograph",
    "read_image",
    "read_squares",
]
