#include "datasets/scenes.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "datasets/hash.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune {
namespace {

// --- what is said ---

struct Colour {
  std::string_view name;
  std::array<int, 3> rgb;
};
constexpr Colour kColours[] = {{"red", {214, 40, 40}},     {"green", {44, 160, 60}},   {"blue", {40, 80, 214}},
                               {"yellow", {236, 214, 44}}, {"purple", {140, 50, 170}}, {"orange", {244, 140, 30}}};

enum class Form : uint8_t { kCircle, kSquare, kTriangle, kDiamond, kCross };
constexpr std::array<std::string_view, 2> kForms[] = {{"circle", "circles"},
                                                      {"square", "squares"},
                                                      {"triangle", "triangles"},
                                                      {"diamond", "diamonds"},
                                                      {"cross", "crosses"}};
constexpr std::array<std::string_view, 2> kSizes[] = {{"small", "little"}, {"large", "big"}};
constexpr std::string_view kCounts[] = {"a", "two", "three"};

enum class SceneSide : uint8_t { kTop, kBottom, kLeft, kRight };
constexpr std::string_view kPlaces[] = {"at the top", "at the bottom", "on the left", "on the right"};
constexpr std::string_view kRelations[] = {"above", "below", "to the left of", "to the right of"};
constexpr SceneSide kOpposite[] = {SceneSide::kBottom, SceneSide::kTop, SceneSide::kRight, SceneSide::kLeft};

size_t at(SceneSide side) { return static_cast<size_t>(side); }

/// Shapes that are alike, on one side of the picture.
struct SceneGroup {
  size_t count;  // 1 to 3
  bool large;
  size_t colour;
  Form form;
  SceneSide side;
};

/// Words and of which group each speaks.
class Caption {
 public:
  Caption& say(std::string_view words, int64_t group = -1) {
    while (!words.empty()) {
      const size_t end = std::min(words.find(' '), words.size());
      if (!caption_.text.empty()) caption_.text += ' ';
      caption_.text += words.substr(0, end);
      caption_.group_of_word.push_back(group);
      words.remove_prefix(std::min(end + 1, words.size()));
    }
    return *this;
  }

  /// "two small red circles"; size_word: which of its names, or none.
  Caption& name(const std::vector<SceneGroup>& groups, size_t number, int size_word) {
    const SceneGroup& group = groups[number];
    const auto id = static_cast<int64_t>(number);
    const std::string_view colour = kColours[group.colour].name;
    const bool vowel = size_word < 0 && colour == "orange";
    say(group.count == 1 && vowel ? "an" : kCounts[group.count - 1], id);
    if (size_word >= 0) say(kSizes[group.large ? 1 : 0][static_cast<size_t>(size_word)], id);
    say(colour, id);
    return say(kForms[static_cast<size_t>(group.form)][group.count == 1 ? 0 : 1], id);
  }

  SceneCaption take() { return std::move(caption_); }

 private:
  SceneCaption caption_;
};

/// The ways to say what a picture shows; the first one is the plainest.
constexpr size_t kWays = 5;

SceneCaption describe(const std::vector<SceneGroup>& groups, size_t way) {
  const bool two = groups.size() == 2;
  const size_t first = two && way == 1 ? 1 : 0;
  const size_t second = 1 - first;
  const int size_word = way == 3 ? -1 : way == 0 ? 0 : 1;
  const SceneSide side = groups[first].side;
  const std::string_view there = groups[first].count == 1 ? "there is" : "there are";
  Caption caption;
  const auto where = [&] {
    if (!two) {
      caption.say(kPlaces[at(side)]);
    } else {
      caption.say(kRelations[at(side)]).name(groups, second, size_word);
    }
  };
  if (way == 4) {
    where();
    caption.say(there).name(groups, first, size_word);
  } else {
    if (way == 2 || (way == 1 && !two)) caption.say(way == 2 ? "the picture shows" : there);
    caption.name(groups, first, size_word);
    where();
  }
  return caption.take();
}

// --- what is drawn: lengths in units of 1 / kUnit pixel ---

constexpr int64_t kUnit = 16;
constexpr int64_t kSamples = 4;  // of a pixel, along each axis

struct Shape2d {
  Form form;
  int64_t y, x;    // center
  int64_t radius;  // half of the box
};

/// Is the point, relative to the center, inside?
bool covers(Form form, int64_t y, int64_t x, int64_t radius) {
  switch (form) {
    case Form::kCircle:
      return y * y + x * x <= radius * radius;
    case Form::kSquare:
      return std::max(std::abs(y), std::abs(x)) <= radius;
    case Form::kTriangle:  // its tip at the top
      return y <= radius && 2 * std::abs(x) <= y + radius;
    case Form::kDiamond:
      return std::abs(y) + std::abs(x) <= radius;
    case Form::kCross:
      return std::min(std::abs(y), std::abs(x)) * 3 <= radius && std::max(std::abs(y), std::abs(x)) <= radius;
  }
  return false;
}

SceneBox box_of(const Shape2d& shape, int64_t size) {
  const auto low = [&](int64_t center) { return std::max<int64_t>(0, (center - shape.radius) / kUnit); };
  const auto high = [&](int64_t center) { return std::min(size, (center + shape.radius + kUnit - 1) / kUnit); };
  return {low(shape.y), low(shape.x), high(shape.y), high(shape.x)};
}

void draw(Image& picture, const Shape2d& shape, const std::array<int, 3>& rgb) {
  const SceneBox box = box_of(shape, picture.height);
  for (int64_t row = box.top; row < box.bottom; ++row) {
    for (int64_t column = box.left; column < box.right; ++column) {
      int covered = 0;
      for (int64_t sample = 0; sample < kSamples * kSamples; ++sample) {
        const int64_t y = row * kUnit + (2 * (sample / kSamples) + 1) * kUnit / (2 * kSamples);
        const int64_t x = column * kUnit + (2 * (sample % kSamples) + 1) * kUnit / (2 * kSamples);
        covered += covers(shape.form, y - shape.y, x - shape.x, shape.radius);
      }
      constexpr int kAll = kSamples * kSamples;
      uint8_t* pixel = picture.pixels.data() + (row * picture.width + column) * 3;
      for (size_t c = 0; c < 3; ++c) {
        pixel[c] = static_cast<uint8_t>((pixel[c] * (kAll - covered) + rgb[c] * covered + kAll / 2) / kAll);
      }
    }
  }
}

class Painter {
 public:
  Painter(RandomStream& random, int64_t size) : random_(random), size_(size) {}

  Scene paint(const std::vector<SceneGroup>& groups) {
    Scene scene;
    scene.picture = ground();
    for (const SceneGroup& group : groups) scene.groups.push_back(place(scene.picture, group));
    return scene;
  }

 private:
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_.below(static_cast<uint64_t>(std::max<int64_t>(0, high - low) + 1)));
  }

  /// Grey that changes from the top to the bottom.
  Image ground() {
    Image picture{size_, size_, {}};
    const int64_t top = between(90, 230);
    const int64_t bottom = between(90, 230);
    for (int64_t row = 0; row < size_; ++row) {
      const auto grey = static_cast<uint8_t>((top * (size_ - row) + bottom * row) / size_);
      picture.pixels.insert(picture.pixels.end(), static_cast<size_t>(size_ * 3), grey);
    }
    return picture;
  }

  /// Shapes beside each other along the side: each within a third of the picture, away from its middle.
  std::vector<SceneBox> place(Image& picture, const SceneGroup& group) {
    const int64_t whole = size_ * kUnit;
    const bool row = group.side == SceneSide::kTop || group.side == SceneSide::kBottom;
    const bool beyond = group.side == SceneSide::kBottom || group.side == SceneSide::kRight;
    const auto count = static_cast<int64_t>(group.count);
    std::vector<SceneBox> boxes;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t radius =
          group.large ? between(whole * 11 / 100, whole * 13 / 100) : between(whole * 6 / 100, whole * 8 / 100);
      // A pixel of its own around each shape.
      const int64_t room = radius + kUnit;
      const int64_t begin = (whole - count * whole / 3) / 2 + i * whole / 3;
      const int64_t along = between(begin + room, begin + whole / 3 - room);
      const int64_t across = between(room, whole / 2 - room) + (beyond ? whole / 2 : 0);
      const Shape2d shape{group.form, row ? across : along, row ? along : across, radius};
      draw(picture, shape, tinted(kColours[group.colour].rgb));
      boxes.push_back(box_of(shape, size_));
    }
    return boxes;
  }

  std::array<int, 3> tinted(std::array<int, 3> rgb) {
    for (int& value : rgb) value = std::clamp(value + static_cast<int>(between(-16, 16)), 0, 255);
    return rgb;
  }

  RandomStream& random_;
  int64_t size_;
};

std::vector<SceneGroup> draw_groups(RandomStream& random) {
  std::vector<SceneGroup> groups;
  const auto side = static_cast<SceneSide>(random.below(4));
  const size_t count = random.below(4) == 0 ? 1 : 2;
  while (groups.size() < count) {
    const SceneGroup group{1 + random.below(3), random.below(2) == 1, random.below(std::size(kColours)),
                           static_cast<Form>(random.below(std::size(kForms))),
                           groups.empty() ? side : kOpposite[at(side)]};
    // Two groups differ in colour and form, so that a name without its size is clear.
    if (groups.empty() || (groups[0].colour != group.colour && groups[0].form != group.form)) groups.push_back(group);
  }
  return groups;
}

SceneSplit scene_split(std::string_view description) {
  const uint64_t tenth = stable_hash(description) % 10;
  return tenth < 8 ? SceneSplit::kTrain : tenth == 8 ? SceneSplit::kVal : SceneSplit::kTest;
}

/// Of both ways to begin the same split: what is above is said like what is below.
std::string description_of(const std::vector<SceneGroup>& groups) {
  std::string description = describe(groups, 0).text;
  if (groups.size() == 2) description = std::min(description, describe({groups[1], groups[0]}, 0).text);
  return description;
}

}  // namespace

std::vector<Scene> generate_scenes(const SceneOptions& options) {
  require<ValueError>(options.count >= 0, "scenes: count is {}, expected 0 or more", options.count);
  require<ValueError>(options.size >= 32, "scenes: size is {}, expected at least 32", options.size);
  require<ValueError>(options.references >= 1 && options.references <= static_cast<int64_t>(kWays),
                      "scenes: {} references asked for, expected 1 to {}", options.references, kWays);
  // Splits draw from far apart: the same seed must not try the same scenes for each of them.
  RandomStream random(RandomState{options.seed, static_cast<uint64_t>(options.split) << 60});
  Painter painter(random, options.size);
  std::vector<Scene> scenes;
  while (static_cast<int64_t>(scenes.size()) < options.count) {
    const std::vector<SceneGroup> groups = draw_groups(random);
    if (scene_split(description_of(groups)) != options.split) continue;
    scenes.push_back(painter.paint(groups));
    for (size_t way = 0; way < static_cast<size_t>(options.references); ++way) {
      scenes.back().captions.push_back(describe(groups, way));
    }
  }
  return scenes;
}

std::vector<CaptionedPicture> to_captions(std::span<const Scene> scenes) {
  std::vector<CaptionedPicture> pictures;
  for (size_t i = 0; i < scenes.size(); ++i) {
    pictures.push_back({"scene" + std::to_string(i), {}});
    for (const SceneCaption& caption : scenes[i].captions) pictures.back().captions.push_back(caption.text);
  }
  return pictures;
}

double attention_inside(std::span<const float> weights, int64_t rows, int64_t columns, int64_t size,
                        std::span<const SceneBox> boxes) {
  require<ValueError>(rows > 0 && columns > 0 && static_cast<int64_t>(weights.size()) == rows * columns,
                      "attention_inside: {} weights for {} x {} regions, expected one for each", weights.size(), rows,
                      columns);
  // Length that [begin, end) shares with part i of so many, in units of 1 / parts pixel.
  const auto shared = [size](int64_t begin, int64_t end, int64_t i, int64_t parts) {
    const int64_t low = std::max(begin * parts, i * size);
    const int64_t high = std::min(end * parts, (i + 1) * size);
    return static_cast<double>(std::max<int64_t>(0, high - low)) / static_cast<double>(size);
  };
  double inside = 0;
  double all = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const auto weight = static_cast<double>(weights[static_cast<size_t>(r * columns + c)]);
      all += weight;
      for (const SceneBox& box : boxes) {
        inside += weight * shared(box.top, box.bottom, r, rows) * shared(box.left, box.right, c, columns);
      }
    }
  }
  return all > 0 ? inside / all : 0;
}

}  // namespace attune
