#include "datasets/captions.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <memory>
#include <string>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::error_text;
using testing::TemporaryDirectory;
using Pictures = std::vector<CaptionedPicture>;
using Names = std::vector<std::string>;

std::string folder_of(const TemporaryDirectory& directory) { return directory.path().string(); }

/// images/ with empty files: reading captions does not look into them.
void add_images(const TemporaryDirectory& directory, const Names& names) {
  for (const std::string& name : names) directory.write("images/" + name, "");
}

TEST_CASE("captions: lines, numbered lines and COCO's JSON say the same", "[datasets][captioning]") {
  const Pictures expected = {{"b.jpg", {"A dog .", "Two dogs"}}, {"a.jpg", {"a cat"}}};
  const auto read = [&](const char* name, const std::string& text, const char* format, bool zipped = false) {
    const TemporaryDirectory directory;
    add_images(directory, {"a.jpg", "b.jpg"});
    if (zipped) directory.write_gzip(name, text);
    if (!zipped) directory.write(name, text);
    const CaptionData data = read_captions(folder_of(directory));
    CHECK(data.pictures == expected);
    CHECK(data.to_string() == "2 pictures with 3 captions from " + (directory / name) + " (" + format + ")");
    CHECK(data.paths() == Names{directory / "images/b.jpg", directory / "images/a.jpg"});
  };
  const std::string lines = "b.jpg\tA dog .\nb.jpg\tTwo dogs\r\na.jpg\ta cat";
  read("captions.tsv", lines, "image<TAB>caption");
  read("captions.txt.gz", lines, "image<TAB>caption", true);
  read("Flickr8k.token.txt", "b.jpg#0\tA dog .\nb.jpg#1\tTwo dogs\na.jpg#12\ta cat\n", "image#n<TAB>caption");
  const std::string json =
      R"( {"info": {"id": "x"}, "images": [{"id": 7, "file_name": "a.jpg", "by": {"id": 3}, "sizes": [1, [2]]},
      {"file_name": "b.jpg", "id": 3}], "licenses": [[1]], "annotations": [{"id": 1, "image_id": 3, "caption":
      " A dog .\n"}, {"image_id": 7, "caption": "a cat"}, {"image_id": 3, "caption": "Two\t dogs"}]})";
  read("captions.json", json, "COCO JSON");
  read("captions.json.gz", "\xEF\xBB\xBF" + json, "COCO JSON", true);
}

TEST_CASE("captions: tables as they are distributed", "[datasets][captioning]") {
  const auto read = [&](const char* folder, const char* name, const std::string& text) {
    const TemporaryDirectory directory;
    for (const char* image : {"a.jpg", "b.jpg"}) directory.write(std::string(folder) + "/" + image, "");
    directory.write(name, text);
    const CaptionData data = read_captions(folder_of(directory));
    CHECK(data.paths().front() == directory / std::string(folder) + "/" + data.pictures.front().name);
    CHECK(data.images == folder);
    CHECK(data.report.to_string().empty());
    return data;
  };
  const Pictures expected = {{"b.jpg", {"A dog , running .", "\"Two\" dogs, \"big\" ones"}}, {"a.jpg", {"a cat"}}};
  // Kaggle's Flickr8k: a caption in quotes has commas, and quotes that are doubled.
  const CaptionData csv = read("Images", "captions.txt",
                               "\xEF\xBB\xBFimage,caption\r\nb.jpg,\"A dog , running .\"\r\n"
                               "b.jpg,\"\"\"Two\"\" dogs, \"\"big\"\" ones\"\r\na.jpg,a cat\r\n");
  CHECK(csv.pictures == expected);
  CHECK(csv.report.format == "image,caption with header");
  // Without quotes the caption takes the rest of the line.
  CHECK(
      read("images", "captions.csv",
           "image,caption\nb.jpg#0,A dog , running .\n\"b.jpg\",\"\"\"Two\"\"\n  dogs, \"\"big\"\" ones\"\na.jpg,a cat")
          .pictures == expected);
  CHECK(read("images", "captions.txt",
             "image_name,comment_number,comment\nb.jpg,0,A dog , running .\n"
             "b.jpg,1,\"\"\"Two\"\" dogs, \"\"big\"\" ones\"\na.jpg,0, a cat\n")
            .pictures == expected);
  // Flickr30k, with the row that lacks a separator.
  const CaptionData bars = read("flickr30k_images", "results.csv",
                                "image_name| comment_number| comment\nb.jpg| 0| A dog , running .\n"
                                "b.jpg| 1| \"Two\" dogs, \"big\" ones\na.jpg| 4   a cat\n");
  CHECK(bars.pictures == expected);
  CHECK(bars.report.format == "image|number|caption with header");
}

TEST_CASE("captions: Karpathy's JSON says which split a picture is in", "[datasets][captioning]") {
  const TemporaryDirectory directory;
  add_images(directory, {"a.jpg", "b.jpg", "c.jpg", "d.jpg"});
  const auto image = [](const char* name, const char* split, const char* sentences) {
    return std::string(R"({"sentids": [0, 1], "imgid": 0, "sentences": [)") + sentences + R"(], "split": ")" + split +
           R"(", "filename": ")" + name + "\"}";
  };
  const std::string json = R"({"images": [)" +
                           image("b.jpg", "train",
                                 R"({"tokens": ["a", "dog"], "raw": "A dog .", "imgid": 0, "sentid": 0},
                                    {"raw": "Two\n dogs", "tokens": [], "more": {"raw": "no"}})") +
                           ", " + image("a.jpg", "val", R"({"raw": "a cat"})") + ", " +
                           image("c.jpg", "test", R"({"raw": " "}, {"raw": "a \"bird\""})") + ", " +
                           image("d.jpg", "restval", R"({"raw": "a fish"})") + R"(], "dataset": "flickr8k"})";
  const std::string path = directory.write("dataset_flickr8k.json", json);
  const auto split = [&](const char* name) { return read_captions(folder_of(directory), {.split = name}).pictures; };
  CHECK(split("train") == Pictures{{"b.jpg", {"A dog .", "Two dogs"}}});
  CHECK(split("val") == Pictures{{"a.jpg", {"a cat"}}});
  CHECK(split("dev") == split("val"));
  CHECK(split("test") == Pictures{{"c.jpg", {"a \"bird\""}}});
  CHECK(split("").size() == 4);
  CHECK(read_captions(folder_of(directory)).report.format == "Karpathy's JSON");
  CHECK(error_text<FormatError>([&] { split("tset"); }) ==
        path + ": no picture of the split 'tset', the file has 'restval', 'test', 'train', 'val'");
  // Captions of another kind and lists beside it do not matter where a split is asked for.
  directory.write("captions.txt", "image,caption\na.jpg,other\n");
  CHECK(split("train") == Pictures{{"b.jpg", {"A dog .", "Two dogs"}}});

  const auto error_of = [&](const std::string& text) {
    directory.write("dataset_flickr8k.json", text);
    return error_text<FormatError>([&] { split("train"); }).substr(path.size());
  };
  constexpr const char* kExpected =
      R"(, expected {"filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dog"}]})";
  CHECK(error_of(R"({"images": [{"split": "train", "sentences": []}]})") ==
        std::string(R"(: entry 0 of "images" has no filename)") + kExpected);
  CHECK(error_of(R"({"images": [{"filename": "a.jpg", "sentences": []}]})") ==
        std::string(R"(: entry 0 of "images" has no split)") + kExpected);
  CHECK(error_of(R"({"images": [{"filename": "a.jpg", "split": "train", "sentences": 3}]})") ==
        std::string(R"(: entry 0 of "images" has no sentences)") + kExpected);
  CHECK(error_of(R"({"images": [)" + image("a.jpg", "train", R"({"raw": "x"})") + "," +
                 image("a.jpg", "test", R"({"raw": "x"})") + "]}") ==
        ": 'a.jpg' is in the splits 'train' and 'test', expected one");
  CHECK(error_of(R"({"images": [)" + image("a.jpg", "train", R"({"raw": "x\u0000"})") + "]}") ==
        R"(: entry 0 of "images": NUL byte, expected text)");
}

TEST_CASE("captions: what does not fit together is counted by name", "[datasets][captioning]") {
  const TemporaryDirectory directory;
  add_images(directory, {"a.jpg", "b.jpg", "c.jpg", "d.jpg"});
  const std::string captions = directory.write("captions.tsv",
                                               "a.jpg\tone\na.jpg\tone\nb.jpg\t \nx.jpg\tgone\nx.jpg\tgone too\n"
                                               "y\xC3\xA9.jpg\tgone\n\nc.jpg\tthree\n../a.jpg\tno\nz.jpg\tgone\n");
  directory.write("train.txt", "c.jpg\n\nb.jpg\n  a.jpg \nc.jpg\nnowhere.jpg\nx.jpg\n");
  const CaptionData all = read_captions(folder_of(directory));
  CHECK(all.pictures == Pictures{{"a.jpg", {"one", "one"}}, {"c.jpg", {"three"}}});
  CHECK(all.report.missing_pictures.count == 4);
  CHECK(all.report.missing_pictures.to_string() == "4 ('x.jpg', 'y\xC3\xA9.jpg', '../a.jpg', ...)");
  CHECK(all.report.uncaptioned.to_string() == "2 ('b.jpg', 'd.jpg')");
  CHECK(all.report.duplicates.to_string() == "1 (" + captions + ": line 2)");
  CHECK(all.report.empty.to_string() == "2 (" + captions + ": line 3, " + captions + ": line 7)");
  CHECK(all.report.unknown_in_split.to_string() == "0");

  const CaptionData train = read_captions(folder_of(directory), {.split = "train"});
  CHECK(train.pictures == Pictures{{"c.jpg", {"three"}}, {"a.jpg", {"one", "one"}}});
  CHECK(train.report.uncaptioned.to_string() == "1 ('b.jpg')");
  CHECK(train.report.unknown_in_split.to_string() == "2 ('nowhere.jpg', 'x.jpg')");
  CHECK(train.report.repeated_in_split.to_string() == "1 ('c.jpg')");
  CHECK_THAT(train.to_string(),
             ContainsSubstring("(image<TAB>caption); pictures of captions that images/ does not have, left out: 4 (") &&
                 ContainsSubstring("; names repeated in the split: 1 ('c.jpg')"));
}

TEST_CASE("captions: files of captions and lists are found", "[datasets][captioning]") {
  const TemporaryDirectory directory;
  const std::string folder = folder_of(directory);
  add_images(directory, {"a.jpg", "b.jpg"});
  CHECK(error_text<IoError>([&] { read_captions(folder); }) ==
        folder +
            ": no captions, expected captions.tsv, captions.txt, captions.csv, captions.json, results.csv, "
            "dataset_flickr8k.json or Flickr8k.token.txt");
  directory.write("captions.tsv", "a.jpg\tone\nb.jpg\ttwo\n");
  directory.write("Flickr_8k.devImages.txt", "b.jpg\n");
  CHECK(read_captions(folder, {.split = "dev"}).pictures == Pictures{{"b.jpg", {"two"}}});
  CHECK(error_text<IoError>([&] { read_captions(folder, {.split = "test"}); }) ==
        folder + ": no test.txt that lists the pictures of the split; text files there: Flickr_8k.devImages.txt");
  directory.write("dev.txt", "a.jpg\n");
  CHECK(error_text<IoError>([&] { read_captions(folder, {.split = "dev"}); }) ==
        folder + ": dev.txt, Flickr_8k.devImages.txt are there, expected one list of the split");
  // Captions of one split need no list.
  directory.write("captions_val.json",
                  R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]})");
  CHECK(read_captions(folder, {.split = "val"}).pictures == Pictures{{"a.jpg", {"x"}}});
  directory.write("captions.json", "{}");
  CHECK(error_text<IoError>([&] { read_captions(folder); }) ==
        folder + ": captions.tsv, captions.json are there, expected one file of captions; name the one to read");
  CHECK(read_captions(folder, {.captions = directory / "captions.tsv"}).pictures.size() == 2);
  const TemporaryDirectory empty;
  empty.write("captions.tsv", "a.jpg\tone\n");
  CHECK(error_text<IoError>([&] { read_captions(folder_of(empty)); }) ==
        (empty / "images") + ": cannot be read: No such file or directory; expected a folder of pictures");
  CHECK_THAT(error_text<IoError>([&] { read_captions(empty / "nowhere"); }),
             ContainsSubstring("nowhere: cannot be read: No such file or directory; expected a folder with images/"));
}

TEST_CASE("captions: errors name the place", "[datasets][captioning]") {
  const TemporaryDirectory directory;
  add_images(directory, {"a.jpg"});
  const auto error_of = [&](const std::string& text, const CaptionReadOptions& options = {}) {
    const std::string path = directory.write("captions.tsv", text);
    std::string error = error_text<FormatError>([&] { read_captions(folder_of(directory), options); });
    REQUIRE(error.starts_with(path));
    return error.substr(path.size());
  };
  constexpr const char* kExpected = ", expected image<TAB>caption or image#n<TAB>caption";
  CHECK(error_of("a.jpg\tok\na.jpg no tab\n") == std::string(": line 2: no tab") + kExpected);
  CHECK(error_of("a.jpg\tok\tno\n") == std::string(": line 1: more than one tab") + kExpected);
  CHECK(error_of("\tok\n") == std::string(": line 1: no image") + kExpected);
  CHECK(error_of("#1\tok\n") == std::string(": line 1: no image") + kExpected);
  CHECK(error_of("a.jpg\tk\xC3\n") == ": line 1: byte 8 ('\\xc3') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_of("") == ": no picture with a caption is left; pictures without captions, left out: 1 ('a.jpg')");
  CHECK(error_of("x.jpg\tok\n").starts_with(": no picture with a caption is left; pictures of captions that"));
  CHECK(error_of("{\"images\": [") == ": byte 13 is not as JSON has it; get the file again");
  CHECK(error_of("{\"images\": \"\xC3\"}") == ": byte 14 is not as JSON has it; get the file again");
  CHECK(error_of("{\"images\": [{\"id\": 1e999}]}") == ": byte 24 is not as JSON has it; get the file again");
  CHECK(error_of("{\"images\": []}").starts_with(": no list \"annotations\", expected COCO's captions: {\"images\""));
  CHECK(error_of(R"({"images": [{"id": "1", "file_name": "a.jpg"}], "annotations": []})") ==
        R"(: entry 0 of "images" has no id, expected {"id": 1, "file_name": "a.jpg"})");
  CHECK(error_of(R"({"images": [3], "annotations": []})").starts_with(": entry 0 of \"images\" has no id"));
  CHECK(error_of(R"({"images": [{"id": 3, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
                     "annotations": [{"image_id": 3, "caption": "a"}]})") ==
        ": two pictures of \"images\" have the id 3: 'a.jpg' and 'b.jpg', expected an id for each");
  CHECK(error_of("image,caption\na.jpg\n") == ": line 2: 1 columns, expected 2: image,caption");
  CHECK(error_of("image,caption\n,x\n") == ": line 2: no image, expected image,caption");
  CHECK(error_of("image,caption\na.jpg,\"a dog\n") ==
        ": line 2: quotation marks that are not closed, expected image,caption");
  CHECK(error_of("image,caption\na.jpg,ok\na.jpg,\"a \"big\" dog\"\n") ==
        ": line 3: a quotation mark within a field, expected it doubled and the field in quotes: "
        "\"a \"\"big\"\" dog\"");
  CHECK(error_of("image_name| comment_number| comment\na.jpg\n") ==
        ": line 2: 1 columns, expected 3: image_name|comment_number|comment");
  CHECK(error_of(R"({"images": [], "annotations": [{"image_id": 2, "caption": 5}]})") ==
        R"(: entry 0 of "annotations" has no caption, expected {"image_id": 1, "caption": "a dog"})");
  CHECK(error_of(R"({"images": [], "annotations": [{"image_id": 2, "caption": "a\u0000"}]})") ==
        R"(: entry 0 of "annotations": NUL byte, expected text)");
  CHECK(error_of(R"({"images": [], "annotations": [{"image_id": 2, "caption": "a"}]})")
            .starts_with(": no picture with a caption is left; pictures of captions that images/ does not have, left "
                         "out: 1 ('image_id 2')"));
  const std::string list = directory.write("dev.txt", "\n");
  directory.write("captions.tsv", "a.jpg\tok\n");
  CHECK(error_text<FormatError>([&] { read_captions(folder_of(directory), {.split = "dev"}); }) ==
        list + ": empty, expected names of pictures");
}

TEST_CASE("captions: as token numbers", "[datasets][captioning]") {
  const Pictures pictures = {{"a.jpg", {"a dog", "a dog runs far away"}}, {"b.jpg", {"a"}}};
  const std::vector<std::string> sentences = {"a dog runs"};
  const auto codec = train_codec({sentences}, {.kind = CodecKind::kWords, .size = 0});
  const auto tokens_of = [](const EncodedCaptions& captions, int64_t i) {
    const auto tokens = captions.captions.tokens(i);
    return std::vector<int64_t>(tokens.begin(), tokens.end());
  };
  const EncodedCaptions all = encode_captions(pictures, *codec);
  REQUIRE(all.captions.size() == 3);
  CHECK(all.pictures == std::vector<int64_t>{0, 0, 1});
  CHECK(all.numbers == std::vector<int64_t>{0, 1, 0});
  CHECK(tokens_of(all, 0).front() == TextCodec::kBegin);
  CHECK(tokens_of(all, 0).back() == TextCodec::kEnd);
  CHECK(codec->decode(all.captions.tokens(0)) == "a dog");
  CHECK(all.to_string() == "3 captions with 11 tokens (2 unknown), 0 overlong");
  const EncodedCaptions left = encode_captions(pictures, *codec, {.max_length = 4});
  CHECK(left.captions.size() == 2);
  CHECK(left.overlong == 1);
  CHECK(left.unknown == 0);
  CHECK(left.numbers == std::vector<int64_t>{0, 0});
  const EncodedCaptions cut = encode_captions(pictures, *codec, {.max_length = 4, .overlong = Overlong::kTruncate});
  CHECK(cut.captions.size() == 3);
  CHECK(codec->decode(cut.captions.tokens(1)) == "a dog runs");
  CHECK(cut.captions.length(1) == 5);
  CHECK(error_text<FormatError>([&] {
          encode_captions(pictures, *codec, {.max_length = 4, .overlong = Overlong::kError});
        }) == "a.jpg: caption 2 has 6 tokens, expected at most 4; shorten it or allow truncation");
  CHECK(error_text<FormatError>([&] {
          encode_captions({{"a.jpg", {"a dog"}}}, *codec, {.max_length = 2});
        }) == "encode_captions: no captions of 1 pictures are left, 1 are longer than 2 tokens; raise the limit");
  CHECK_THROWS_AS(encode_captions(pictures, *codec, {.max_length = 1}), ValueError);
}

TEST_CASE("captions: Flickr8k", "[datasets][captioning]") {
  const std::string folder = testing::data_path("flickr8k");
  const CaptionData train = read_captions(folder, {.split = "train"});
  CHECK(train.pictures.size() == 6000);
  CHECK(train.caption_count() == 30000);
  CHECK(train.pictures[0].captions[1] == "Black dog chasing brown dog through snow");
  CHECK(train.report.missing_pictures.count + train.report.uncaptioned.count + train.report.empty.count == 0);
  CHECK(read_captions(folder, {.split = "dev"}).pictures.size() == 1000);
}

}  // namespace
}  // namespace attune
