#include "datasets/classification.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using testing::error_text;
using testing::TemporaryDirectory;

using Examples = std::vector<ClassificationExample>;

std::string error_of(const std::string& path, const ClassificationReadOptions& options = {}) {
  const std::string text = error_text<FormatError>([&] { read_classification(path, options); });
  INFO(text);
  CHECK(text.starts_with(path));
  return text.substr(path.size());
}

TEST_CASE("labelled lines, plain and gzipped", "[datasets][classification]") {
  const TemporaryDirectory folder;
  const std::string lines = "1\tgood .\n\n0\t bad\n1\t \n1\tgood .\n0\tgood .\n";
  for (const std::string& path : {folder.write("a.tsv", lines), folder.write_gzip("a.tsv.gz", lines)}) {
    const ClassificationData data = read_classification(path);
    CHECK(data.examples == Examples{{"good .", 1}, {" bad", 0}, {"good .", 1}, {"good .", 0}});
    CHECK(data.report.to_string() ==
          "4 examples (2 negative, 2 positive) from label<TAB>text, 2 empty left out, 2 duplicates (1 with the other "
          "label)");
    CHECK(data.origin(0) == path + ": line 1");
    CHECK(data.origin(3) == path + ": line 6");
  }
}

TEST_CASE("lines below a header", "[datasets][classification]") {
  const TemporaryDirectory folder;
  const Examples expected = {{"it is fun", 1}, {"it is 1", 0}};
  const auto check = [&](const std::string& path, const char* format) {
    const ClassificationData data = read_classification(path);
    CHECK(data.examples == expected);
    CHECK(data.report.format == format);
    CHECK(data.origin(1) == path + ": line 3");
  };
  const std::string glue = "sentence\tlabel\r\nit is fun\t1\r\nit is 1\t0\r\n";
  check(folder.write("glue.tsv", glue), "sentence<TAB>label with header");
  check(folder.write_gzip("glue.gz", "\xEF\xBB\xBF" + glue), "sentence<TAB>label with header");
  check(folder.write("other.tsv", "label\ttext\n1\tit is fun\n0\tit is 1\n"), "label<TAB>text with header");
}

TEST_CASE("the aclImdb folder", "[datasets][classification]") {
  const TemporaryDirectory folder;
  folder.write("train/pos/10_8.txt", "Great<br /><br />fun.\nReally.");
  folder.write_gzip("train/pos/1_9.txt.gz", "Fine.\n");
  folder.write("train/neg/0_1.txt", "Bad.");
  folder.write("train/neg/2_1.txt", " \n");
  folder.write("train/neg/notes.md", "not a review");
  folder.write("train/unsup/0_0.txt", "no label");
  folder.write("test/pos/0_7.txt", "Nice.");
  folder.write("test/neg/0_2.txt", "Poor.");

  const ClassificationData train = read_classification(folder.path().string(), {.require_both_classes = true});
  CHECK(train.examples == Examples{{"Bad.", 0}, {"Great  fun. Really.", 1}, {"Fine.", 1}});
  CHECK(train.report.to_string() ==
        "3 examples (1 negative, 2 positive) from aclImdb folder, 1 empty left out, 0 duplicates (0 with the other "
        "label)");
  CHECK(train.origin(2) == folder / "train/pos/1_9.txt.gz");
  const Examples test = {{"Poor.", 0}, {"Nice.", 1}};
  CHECK(read_classification(folder.path().string(), {.split = "test"}).examples == test);
  CHECK(read_classification(folder / "test").examples == test);

  CHECK(error_of(folder.path().string(), {.split = "dev"}) ==
        ": a folder without dev/pos and dev/neg, expected an aclImdb folder or a file");
  const std::string wrong = folder.write("train/pos/3_9.txt", "fine\nnot \xFF");
  CHECK(error_text<FormatError>([&] { read_classification(folder.path().string()); }) ==
        wrong + ": line 2: byte 5 ('\\xff') is not valid UTF-8, expected UTF-8 text");
  const TemporaryDirectory none;
  std::filesystem::create_directories(none / "pos");
  std::filesystem::create_directories(none / "neg");
  CHECK(error_of(none.path().string()) == ": no examples (0 empty), expected reviews in pos/*.txt and neg/*.txt");
}

TEST_CASE("bad labelled texts are named by file and line", "[datasets][classification]") {
  const TemporaryDirectory folder;
  const auto error_in = [&](std::string_view bytes, const ClassificationReadOptions& options = {}) {
    return error_of(folder.write("x.tsv", bytes), options);
  };
  const std::string expected = "expected 'label<TAB>text' with label 0 or 1";
  CHECK(error_in("") == ": the file is empty, " + expected);
  CHECK(error_in("\n \n") == ": no examples (2 empty), " + expected);
  CHECK(error_in("sentence\tlabel\n") == ": no examples (0 empty), " + expected);
  CHECK(error_in("1\tgood\n0 bad\n") == ": line 2: no tab in '0 bad', " + expected);
  CHECK(error_in("1\tgood\tfilm\n") == ": line 1: 2 tabs in '1\\tgood\\tfilm', " + expected);
  CHECK(error_in("1\tgood\n2\tso\n") == ": line 2: label '2' is not 0 or 1, " + expected);
  CHECK(error_in("1\tgood\n\tso\n") == ": line 2: label '' is not 0 or 1, " + expected);
  CHECK(error_in("1 \tgood\n") == ": line 1: label '1 ' is not 0 or 1, " + expected);
  CHECK(error_in("positive\tgood\n") == ": line 1: label 'positive' is not 0 or 1, " + expected);
  CHECK(error_in("good\t1\n") == ": line 1: label 'good' is not 0 or 1, " + expected +
                                     "; with the label last, a first line 'sentence<TAB>label' says so");
  CHECK(error_in("sentence\tlabel\nso\t-1\n") ==
        ": line 2: label '-1' is not 0 or 1, expected 'sentence<TAB>label' with label 0 or 1 (as the header says)");
  CHECK(error_in("index\tsentence\n0\tso\n") ==
        ": header 'index<TAB>sentence' is that of GLUE's unlabelled test part, " + expected);
  CHECK(error_in("1\tgood\n1\tfine\n", {.require_both_classes = true}) ==
        ": all 2 examples have label 1, expected both 0 and 1 to learn from");
  CHECK(error_in("0\tbad\n", {.require_both_classes = true}) ==
        ": all 1 examples have label 0, expected both 0 and 1 to learn from");
  CHECK(read_classification(folder.write("one.tsv", "1\tgood\n")).examples.size() == 1);
  CHECK(error_in("1\tgood\n0\t\xF0\n").starts_with(": line 2: byte 3 "));
  CHECK(error_in("1\tgood\n", {.text = {.max_line_bytes = 5}}).starts_with(": line 1: longer than 5 bytes"));
  CHECK(error_text<IoError>([&] {
          read_classification(folder / "none");
        }).ends_with("none: cannot be opened for reading: No such file or directory"));
}

TEST_CASE("random lines never crash the reader", "[datasets][classification]") {
  const TemporaryDirectory folder;
  RandomStream random(4);
  constexpr std::string_view kBytes = "01\t\t\n\n\r ab\xC3\xA9\xFF\0";
  int64_t read = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = i % 4 == 0 ? "sentence\tlabel\n" : "";
    for (uint64_t n = random.below(12); n > 0; --n) bytes += kBytes[random.below(kBytes.size())];
    try {
      for (const ClassificationExample& e : read_classification(folder.write("noise", bytes)).examples) {
        CHECK((e.label == 0 || e.label == 1));
        ++read;
      }
    } catch (const FormatError&) {
    }
  }
  CHECK(read > 0);
}

TEST_CASE("encoding texts", "[datasets][classification]") {
  const TemporaryDirectory folder;
  const WordTokenizer tokenizer;
  const Vocabulary vocabulary({"<pad>", "<unk>", "<cls>", "good", "film", "."});
  const std::string path = folder.write("a.tsv", "1\tGood film.\n0\ta bad film .\n");
  const ClassificationData data = read_classification(path);
  const auto tokens = [](const EncodedClassification& encoded, int64_t i) {
    const auto span = encoded.sequences.tokens(i);
    return std::vector<int64_t>(span.begin(), span.end());
  };
  using Ids = std::vector<int64_t>;

  const EncodedClassification plain = encode_classification(data, tokenizer, vocabulary);
  CHECK(plain.sequences.size() == 2);
  CHECK(tokens(plain, 0) == Ids{3, 4, 5});
  CHECK(tokens(plain, 1) == Ids{1, 1, 4, 5});
  CHECK(plain.sequences.label(0) == 1);
  CHECK(plain.sequences.label(1) == 0);
  CHECK(plain.unknown == 2);
  CHECK(plain.truncated == 0);

  const EncodedClassification cut =
      encode_classification(data, tokenizer, vocabulary, {.max_length = 4, .truncate = true, .first = 2});
  CHECK(tokens(cut, 0) == Ids{2, 3, 4, 5});
  CHECK(tokens(cut, 1) == Ids{2, 1, 1, 4});
  CHECK(cut.truncated == 1);

  CHECK(error_text<FormatError>([&] { encode_classification(data, tokenizer, vocabulary, {.max_length = 3}); }) ==
        path + ": line 2: 4 tokens, the model takes at most 3; shorten the text or allow truncation");
  CHECK(error_text<FormatError>([&] { encode_text(" ", "--text", tokenizer, vocabulary, {}); }) ==
        "--text: no words in the text, expected at least one");
}

TEST_CASE("SST-2 is read as its description says", "[datasets][classification][data]") {
  const auto report = [](const char* name) {
    return read_classification(testing::data_path(name), {.require_both_classes = true}).report;
  };
  const ClassificationReport train = report("sst2/train.tsv");
  CHECK(train.class_counts == std::array<int64_t, 2>{3309, 3608});
  CHECK(report("sst2/dev.tsv").class_counts == std::array<int64_t, 2>{428, 444});
  const ClassificationReport phrases = report("sst2/phrases.tsv");
  CHECK(phrases.class_counts == std::array<int64_t, 2>{29771, 37563});
  CHECK(phrases.duplicates == 67334 - 66967);
  CHECK(phrases.empty == 0);
  CHECK(phrases.contradictions > 0);
  CHECK(phrases.contradictions < 10);
}

}  // namespace
}  // namespace attune
