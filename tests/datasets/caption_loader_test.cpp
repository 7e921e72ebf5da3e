#include "datasets/caption_loader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"

namespace attune {
namespace {

using testing::error_text;
using Ids = std::vector<int64_t>;

constexpr int64_t kBegin = 2;
constexpr int64_t kEnd = 3;

/// Pictures of one colour each: 3 i, 3 i, 3 i.
std::shared_ptr<const PictureStore> plain_pictures(int64_t count) {
  std::vector<Image> pictures;
  for (int64_t i = 0; i < count; ++i) {
    pictures.push_back({4, 6, std::vector<uint8_t>(4 * 6 * 3, static_cast<uint8_t>(3 * i))});
  }
  return std::make_shared<PictureStore>(std::move(pictures));
}

std::shared_ptr<const PictureStore> varied_pictures(int64_t count) {
  std::vector<Image> pictures;
  for (int64_t i = 0; i < count; ++i) {
    pictures.push_back(testing::gradient_picture(8, 10));
    pictures.back().pixels[static_cast<size_t>(i)] = 0;
  }
  return std::make_shared<PictureStore>(std::move(pictures));
}

/// Captions of each picture, of 1 to 8 words.
EncodedCaptions some_captions(int64_t pictures, int64_t each) {
  RandomStream random(5);
  EncodedCaptions captions;
  for (int64_t i = 0; i < pictures * each; ++i) {
    Ids ids = {kBegin};
    for (uint64_t n = 1 + random.below(8); n > 0; --n) ids.push_back(static_cast<int64_t>(4 + random.below(50)));
    ids.push_back(kEnd);
    captions.captions.add(ids);
    captions.pictures.push_back(i / each);
    captions.numbers.push_back(i % each);
  }
  return captions;
}

struct Copy {
  std::vector<float> pictures;
  Ids picture_of, target_in, target_out, lengths, examples;

  bool operator==(const Copy&) const = default;
};

Copy copy_of(const CaptionBatch& batch) {
  return {batch.pictures.to_vector<float>(),         batch.picture_of.to_vector<int64_t>(),
          batch.target_in.to_vector<int64_t>(),      batch.target_out.to_vector<int64_t>(),
          batch.target_lengths.to_vector<int64_t>(), batch.examples};
}

TEST_CASE("caption loader: rows hold their captions and their pictures", "[datasets][captioning][loader]") {
  const int64_t shared = GENERATE(1, 2, 5);
  const EncodedCaptions data = some_captions(40, 5);
  CaptionLoader loader(data, plain_pictures(40),
                       {.loader = {.batches = {.max_examples = 7}, .pad = -7},
                        .normalisation = {.mean = {0, 0, 0}, .stddev = {1, 1, 1}},
                        .captions_per_picture = shared});
  Ids seen;
  int64_t pictures_made = 0;
  int64_t batches = 0;
  while (const CaptionBatch* batch = loader.next()) {
    ++batches;
    const auto rows = static_cast<int64_t>(batch->examples.size());
    const int64_t pictures = batch->pictures.dim(0);
    const int64_t longest = batch->target_in.dim(1);
    CHECK(batch->pictures.shape() == Shape{pictures, 4, 6, 3});
    CHECK(pictures <= 7);
    CHECK(rows <= pictures * shared);
    REQUIRE(batch->picture_of.shape() == Shape{rows});
    REQUIRE(batch->target_in.shape() == Shape{rows, longest});
    REQUIRE(batch->target_out.shape() == Shape{rows, longest});
    REQUIRE(batch->target_lengths.shape() == Shape{rows});
    const Copy copy = copy_of(*batch);
    int64_t tokens = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const auto r = static_cast<size_t>(row);
      const int64_t caption = copy.examples[r];
      const auto ids = data.captions.tokens(caption);
      const auto steps = static_cast<int64_t>(ids.size()) - 1;
      CHECK(copy.lengths[r] == steps);
      for (int64_t t = 0; t < longest; ++t) {
        const auto i = static_cast<size_t>(row * longest + t);
        CHECK(copy.target_in[i] == (t < steps ? ids[static_cast<size_t>(t)] : -7));
        CHECK(copy.target_out[i] == (t < steps ? ids[static_cast<size_t>(t) + 1] : -7));
      }
      tokens += steps;
      if (shared == 1) CHECK(copy.picture_of[r] == row);
      const auto picture = static_cast<size_t>(copy.picture_of[r]);
      CHECK(copy.pictures[picture * 72] == static_cast<float>(3 * data.pictures[static_cast<size_t>(caption)]) / 255);
      CHECK(copy.pictures[picture * 72 + 71] == copy.pictures[picture * 72]);
      seen.push_back(caption);
    }
    CHECK(batch->target_tokens == tokens);
    pictures_made += pictures;
  }
  CHECK(batches == loader.batches_per_epoch());
  CHECK(pictures_made == 40 * ((5 + shared - 1) / shared));
  std::sort(seen.begin(), seen.end());
  Ids all(200);
  std::iota(all.begin(), all.end(), 0);
  CHECK(seen == all);
}

TEST_CASE("caption loader: bit-equal, whoever makes the batches and wherever one begins",
          "[datasets][captioning][loader]") {
  const EncodedCaptions data = some_captions(30, 3);
  const auto pictures = varied_pictures(30);
  const auto with = [&](int prefetch, int threads, uint64_t seed = 4) {
    return CaptionLoaderOptions{
        .loader = {.batches = {.max_examples = 8, .seed = seed}, .prefetch = prefetch},
        .augmentation = {.min_area = 0.5, .max_stretch = 1.2, .flip = 0.5, .brightness = 0.2, .contrast = 0.2},
        .threads = threads};
  };
  CaptionLoader straight(data, pictures, with(0, 1));
  std::vector<Copy> copies;
  std::vector<DataPosition> positions;
  for (int epoch = 0; epoch < 2; ++epoch) {
    positions.push_back(straight.position());
    while (const CaptionBatch* batch = straight.next()) {
      copies.push_back(copy_of(*batch));
      positions.push_back(straight.position());
    }
  }
  const auto per_epoch = static_cast<size_t>(straight.batches_per_epoch());
  REQUIRE(copies.size() == 2 * per_epoch);
  for (const auto& [prefetch, threads] : {std::pair{2, 1}, std::pair{1, 3}, std::pair{0, 100}}) {
    CaptionLoader other(data, pictures, with(prefetch, threads));
    const size_t from = per_epoch / 2;
    other.seek(positions[from]);
    for (size_t i = from; i < copies.size(); ++i) {
      const CaptionBatch* batch = other.next();
      if (batch == nullptr) batch = other.next();
      REQUIRE(batch != nullptr);
      if (copy_of(*batch) != copies[i]) FAIL("batch " << i << ", prefetch " << prefetch << ", threads " << threads);
    }
  }
  // Another epoch, another seed, another caption of the same picture: another change.
  const auto picture_of_caption = [&](const std::vector<Copy>& batches, size_t begin, int64_t caption) {
    for (size_t i = begin; i < batches.size(); ++i) {
      const auto found = std::find(batches[i].examples.begin(), batches[i].examples.end(), caption);
      if (found == batches[i].examples.end()) continue;
      const auto row = static_cast<size_t>(found - batches[i].examples.begin());
      const float* begin_of_row = batches[i].pictures.data() + row * 240;
      return std::vector<float>(begin_of_row, begin_of_row + 240);
    }
    return std::vector<float>();
  };
  CHECK(picture_of_caption(copies, 0, 5) != picture_of_caption(copies, per_epoch, 5));
  CHECK(picture_of_caption(copies, 0, 3) != picture_of_caption(copies, 0, 4));
  CaptionLoader seeded(data, pictures, with(0, 1, 5));
  std::vector<Copy> others;
  while (const CaptionBatch* batch = seeded.next()) others.push_back(copy_of(*batch));
  CHECK(picture_of_caption(copies, 0, 5) != picture_of_caption(others, 0, 5));

  CaptionLoaderOptions changed = with(0, 1);
  changed.augmentation.flip = 0.4;
  CHECK(error_text<ValueError>([&] {
          CaptionLoader(data, pictures, changed).seek(straight.position());
        }).starts_with("loader: the position was saved with other data or batch options"));
}

TEST_CASE("caption loader: time waited for pictures", "[datasets][captioning][loader]") {
  const int prefetch = GENERATE(0, 2);
  CaptionLoader loader(some_captions(20, 5), plain_pictures(20), {.loader = {.prefetch = prefetch}});
  CHECK(loader.seconds_waited() == 0);
  const auto begin = std::chrono::steady_clock::now();
  while (loader.next() != nullptr) continue;
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK(loader.seconds_waited() > 0);
  CHECK(loader.seconds_waited() <= elapsed);
}

TEST_CASE("pictures in memory: as many as fit, damaged ones by name", "[datasets][captioning][loader]") {
  const testing::TemporaryDirectory directory;
  std::vector<std::string> paths;
  for (int i = 0; i < 6; ++i) {
    const Image picture = testing::gradient_picture(10 + i, 20);
    paths.push_back(directory.write(std::to_string(i) + ".jpg", i == 1   ? ""
                                                                : i == 4 ? testing::jpeg_file(picture).substr(0, 300)
                                                                         : testing::jpeg_file(picture)));
  }
  const auto store = [&](int64_t fitting) {
    return std::make_shared<PictureStore>(
        paths, PictureStoreOptions{.height = 8, .width = 8, .max_bytes = fitting * 8 * 8 * 3 + 5});
  };
  const auto all = store(100);
  CHECK(all->cached() == 6);
  REQUIRE(all->unreadable().size() == 2);
  CHECK(all->unreadable()[0].number == 1);
  CHECK(all->unreadable()[0].reason == paths[1] + ": is empty, expected a JPEG or PNG picture");
  CHECK_FALSE(all->readable(4));
  CHECK(all->readable(5));
  CHECK(all->to_string() == "6 pictures of 8 x 8, 4 of them in memory (0 MiB), 2 unreadable: " +
                                all->unreadable()[0].reason + "; " + all->unreadable()[1].reason);
  const auto some = store(3);
  CHECK(some->cached() == 3);
  CHECK(some->unreadable().size() == 1);
  Image scratch;
  for (int64_t i : {0, 2, 3, 5}) {
    const Image expected = resize(read_image(paths[static_cast<size_t>(i)]), 8, 8);
    CHECK(all->at(i, scratch) == expected);
    CHECK(some->at(i, scratch) == expected);
  }
  CHECK(error_text<ValueError>([&] { all->at(4, scratch); }) == "pictures: number 4 asked for, which cannot be read");
  CHECK(error_text<ValueError>([&] { all->at(6, scratch); }) == "pictures: number 6 asked for, expected 0 to 5");
  CHECK(error_text<FormatError>([&] { some->at(4, scratch); }).starts_with(paths[4] + ": damaged JPEG picture"));

  // Their captions are left out; a picture that is found damaged later ends the epoch with its name.
  CaptionLoader loader(some_captions(6, 2), all, {.loader = {.batches = {.max_examples = 4}}});
  CHECK(loader.left_out() == 4);
  Ids seen;
  while (const CaptionBatch* batch = loader.next()) {
    seen.insert(seen.end(), batch->examples.begin(), batch->examples.end());
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == Ids{0, 1, 4, 5, 6, 7, 10, 11});
  for (int threads : {1, 3}) {
    CaptionLoader late(some_captions(6, 2), some, {.loader = {.batches = {.max_examples = 4}}, .threads = threads});
    CHECK(error_text<FormatError>([&] {
            while (late.next() != nullptr) continue;
          }).starts_with(paths[4] + ": damaged JPEG picture"));
  }

  CHECK(error_text<ValueError>([&] { PictureStore(paths, {.height = 0}); }) ==
        "pictures: 128 x 0 pixels and 4294967296 bytes of memory asked for, expected at least 1 x 1 and 0");
  CHECK_THROWS_AS(PictureStore(std::vector<Image>()), ShapeError);
  CHECK(error_text<ShapeError>([] {
          PictureStore(std::vector<Image>{testing::gradient_picture(2, 2), testing::gradient_picture(2, 3)});
        }) == "pictures: number 1 is 3 x 2, expected 2 x 2 as number 0");
}

TEST_CASE("caption loader: errors", "[datasets][captioning][loader]") {
  const EncodedCaptions captions = some_captions(3, 1);
  CHECK(error_text<ValueError>([&] { CaptionLoader(captions, plain_pictures(2), {}); }) ==
        "caption loader: caption 2 is about picture 2, expected 0 to 1");
  CHECK(error_text<ValueError>([&] { CaptionLoader(captions, plain_pictures(3), {.threads = 0}); }) ==
        "caption loader: 1 captions per picture and 0 threads asked for, expected at least 1 of each");
  CHECK(error_text<ValueError>([&] { CaptionLoader(captions, plain_pictures(3), {.augmentation = {.flip = -1}}); }) ==
        "augmentation: flip is -1, expected 0 to 1");
  CHECK_THROWS_AS(CaptionLoader(captions, nullptr, {}), ValueError);
  CHECK(error_text<ValueError>([&] { CaptionLoader(EncodedCaptions(), plain_pictures(3), {}); }) ==
        "batches: no examples to make batches of, expected at least 1");
  EncodedCaptions silent = captions;
  silent.captions.add(Ids{});
  silent.pictures.push_back(0);
  CHECK(error_text<ValueError>([&] { CaptionLoader(silent, plain_pictures(3), {}); }) ==
        "caption loader: caption 3 has no tokens, expected <bos> ... <eos>");
}

TEST_CASE("caption loader: Flickr8k", "[datasets][captioning][loader]") {
  const std::string folder = testing::data_path("flickr8k");
  CaptionData data = read_captions(folder, {.split = "dev"});
  data.pictures.resize(64);
  const auto store = std::make_shared<PictureStore>(data.paths(), PictureStoreOptions{.height = 64, .width = 64});
  CHECK(store->unreadable().empty());
  CHECK(store->cached() == 64);
}

}  // namespace
}  // namespace attune
