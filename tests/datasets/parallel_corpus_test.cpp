#include "datasets/parallel_corpus.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

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
using Sentences = std::vector<std::string>;

std::string folder_of(const TemporaryDirectory& directory) { return directory.path().string(); }

TEST_CASE("parallel corpus: lines belong together, blank sides are left out and counted", "[datasets][translation]") {
  const TemporaryDirectory directory;
  directory.write("train.en", "a man\n\n  \na dog\r\nlast");
  directory.write_gzip("train.de.gz", "ein Mann\nnichts\n\nein Hund\nzuletzt\n");
  const ParallelCorpus corpus = read_parallel(folder_of(directory), "train", "en", "de");
  CHECK(corpus.source == Sentences{"a man", "a dog", "last"});
  CHECK(corpus.target == Sentences{"ein Mann", "ein Hund", "zuletzt"});
  CHECK(corpus.lines == std::vector<int64_t>{1, 4, 5});
  CHECK(corpus.empty == 2);
  CHECK(corpus.origin(1) == directory / "train.en" + " and " + (directory / "train.de.gz") + ": line 4");
  CHECK(corpus.to_string() == "3 pairs from " + (directory / "train.en") + " and " + (directory / "train.de.gz") +
                                  ", 2 with an empty side left out");
  const ParallelCorpus all = read_parallel(folder_of(directory), "train", "en", "de", {.keep_empty = true});
  CHECK(all.size() == 5);
  CHECK(all.source[1].empty());
  CHECK(all.target[1] == "nichts");
  CHECK(all.empty == 0);
  // The other way round.
  CHECK(read_parallel(folder_of(directory), "train", "de", "en").source == corpus.target);
}

TEST_CASE("parallel corpus: splits that both languages have", "[datasets][translation]") {
  const TemporaryDirectory directory;
  for (const char* name : {"train.en", "train.de", "val.en", "val.de", "test2016.en", "test2017.en", "val.fr", "en"}) {
    directory.write(name, "x\n");
  }
  directory.write_gzip("test2016.de.gz", "x\n");
  CHECK(parallel_splits(folder_of(directory), "en", "de") == Sentences{"test2016", "train", "val"});
  CHECK(parallel_splits(folder_of(directory), "en", "fr") == Sentences{"val"});
  CHECK_THAT(error_text<IoError>([&] { parallel_splits(directory / "nowhere", "en", "de"); }),
             ContainsSubstring("nowhere: cannot be read: No such file or directory"));
}

TEST_CASE("parallel corpus: errors", "[datasets][translation]") {
  const TemporaryDirectory directory;
  const std::string folder = folder_of(directory);
  const std::string en = directory.write("train.en", "a\nb\nc\n");
  const std::string de = directory.write("train.de", "a\nb\n");
  directory.write("train.fr", "\n\n\n");
  directory.write("train.es", "ok\nja \xC3\nok\n");
  directory.write_gzip("train.it.gz", "a\nb\nc\n");
  directory.write("train.it", "a\nb\nc\n");
  CHECK(error_text<FormatError>([&] { read_parallel(folder, "train", "en", "de"); }) ==
        en + " has 3 lines and " + de + " has 2, expected as many: line i of one translates line i of the other");
  CHECK(error_text<FormatError>([&] { read_parallel(folder, "train", "de", "en"); }) ==
        de + " has 2 lines and " + en + " has 3, expected as many: line i of one translates line i of the other");
  CHECK(error_text<FormatError>([&] { read_parallel(folder, "train", "en", "fr"); }) ==
        en + " and " + (directory / "train.fr") + ": no pairs (3 with an empty side), expected at least one");
  CHECK(error_text<FormatError>([&] { read_parallel(folder, "train", "en", "es"); }) ==
        (directory / "train.es") + ": line 2: byte 4 ('\\xc3') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<IoError>([&] { read_parallel(folder, "train", "en", "cs"); }) ==
        folder + ": no train.cs, plain or .gz; languages of 'train' there: de, en, es, fr, it");
  CHECK(error_text<IoError>([&] { read_parallel(folder, "val", "en", "de"); }) ==
        folder + ": no val.en, plain or .gz; languages of 'val' there: none");
  CHECK(error_text<IoError>([&] { read_parallel(folder, "train", "en", "it"); }) ==
        folder + ": train.it is there plain and as .gz, expected one of them");
}

TEST_CASE("parallel corpus: Multi30k", "[datasets][translation]") {
  const std::string folder = testing::data_path("multi30k");
  const ParallelCorpus corpus = read_parallel(folder, "train", "en", "de");
  CHECK(corpus.size() + corpus.empty == 29000);
  CHECK(read_parallel(folder, "test2016", "en", "fr").size() == 1000);
  CHECK(parallel_splits(folder, "en", "de") == Sentences{"test2016", "train", "val"});
}

}  // namespace
}  // namespace attune
