#pragma once

#include <cstdint>
#include <string_view>

#include "datasets/image.h"

namespace attune {

/// How a camera's pixels are to be turned, as Exif numbers it: 1 not at all, 2 mirrored, 3 by half, 4 upside down as in
/// a mirror, 5 rows are columns, 6 a quarter clockwise, 7 as 5 turned by half, 8 a quarter anticlockwise.
///
/// Of the block that begins with "Exif" in a JPEG file (Exif 2.3, a directory of TIFF 6.0). Anything that is not as it
/// should be means 1: the notes are no part of the picture.
int64_t exif_orientation(std::string_view block);

/// The picture as it is meant to be seen; its extents change places for 5 to 8.
Image oriented(Image image, int64_t orientation);

}  // namespace attune
