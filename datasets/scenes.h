#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/captions.h"
#include "datasets/image.h"

namespace attune {

enum class SceneSplit : uint8_t { kTrain, kVal, kTest };

struct SceneOptions {
  int64_t count = 2000;
  uint64_t seed = 0;
  SceneSplit split = SceneSplit::kTrain;
  int64_t size = 64;       ///< height and width of the pictures, at least 32
  int64_t references = 5;  ///< captions of a picture, 1 to 5
};

/// Pixels [top, bottom) x [left, right).
struct SceneBox {
  int64_t top = 0;
  int64_t left = 0;
  int64_t bottom = 0;
  int64_t right = 0;

  bool operator==(const SceneBox&) const = default;
};

struct SceneCaption {
  std::string text;                    ///< words joined by spaces, lower case
  std::vector<int64_t> group_of_word;  ///< number of the group that each word speaks of, -1 for none
};

/// Shapes on a grey ground, one or two groups of them; shapes of a group are alike.
struct Scene {
  Image picture;
  std::vector<SceneCaption> captions;
  std::vector<std::vector<SceneBox>> groups;  ///< of every group the box of each shape; boxes do not overlap
};

/// Pictures with captions from a grammar, for demonstrations and tests without a file: "a small red circle above two
/// large blue squares". Two groups stand above or below, to the left or to the right of each other; one alone is at the
/// top or at the bottom, on the left or on the right. Six colours, five shapes, two sizes, one to three of a kind. The
/// captions of a picture say the same in other ways: from the other group's side, without sizes, with other words.
///
/// Edges are antialiased by integer sums, so that the same options give the same bytes on every machine, and a smaller
/// count gives a prefix. Splits share no description, for any seeds: a hash of it says to which one it belongs (8 : 1 :
/// 1), so that what is described in one of them has to be put together from what was learned in another.
///
/// Throws ValueError for a negative count, a smaller size and another number of references.
std::vector<Scene> generate_scenes(const SceneOptions& options);

/// The captions as read_captions() has them; pictures are called "scene0", "scene1", ...
std::vector<CaptionedPicture> to_captions(std::span<const Scene> scenes);

/// Share of attention that lies in the boxes: `weights` of rows x columns regions, each spread evenly over its part of
/// a picture of `size` x `size` pixels; the boxes do not overlap. 0 for weights that sum to 0. Throws ValueError for
/// another number of weights than regions.
double attention_inside(std::span<const float> weights, int64_t rows, int64_t columns, int64_t size,
                        std::span<const SceneBox> boxes);

}  // namespace attune
