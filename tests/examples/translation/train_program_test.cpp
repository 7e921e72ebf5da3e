// attune-translation train from the outside: what it leaves behind, and what it says to bad input.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "framework/checkpoint.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/training_runs.h"
#include "tests/support/translation.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::check_error;
using testing::Finished;
using testing::read_bytes;
using testing::run;
using testing::small_translation_training;
using testing::TemporaryDirectory;
using testing::write_pairs;
using Words = std::vector<std::string>;

constexpr const char* kProgram = "attune-translation";

/// Subwords of both languages, averages, evaluations inside epochs, and a save at every step.
const Words kEverything = {
    "--set", "training.save_every=0",   "--set", "training.evaluate_every=2", "--set", "training.average_decay=0.9",
    "--set", "training.average_last=2", "--set", "training.accumulation=2",   "--set", "text.codec=bpe",
    "--set", "text.joint=true",         "--set", "text.vocabulary=150",       "--set", "text.dropout=0.1",
    "--set", "training.r_drop=1"};

TEST_CASE("a training of a translation leaves weights, settings and a log", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 60);
  const std::string out = directory / "out";
  const Finished trained = run(kProgram, small_translation_training(data, out, {"--json", "--seed", "7"}));
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK_THAT(trained.err, ContainsSubstring("60 pairs from " + data + "/train.en and " + data + "/train.es"));
  const Json result = Json::parse(testing::last_line(trained.out));
  CHECK(result["complete"] == true);

  std::istringstream log(read_bytes(out + "/log.jsonl"));
  Json best;
  int evaluations = 0;
  for (std::string line; std::getline(log, line); ++evaluations) {
    if (const Json entry = Json::parse(line); entry["best"] == true) best = entry;
  }
  CHECK(evaluations == 3);
  for (const char* figure : {"bleu", "loss", "perplexity"}) CHECK(best[figure] == result[figure]);
  CHECK(best["step"] == result["best_step"]);

  const Json config = Json::parse(read_bytes(out + "/config.json"));
  CHECK(config["run"]["seed"] == 7);
  CHECK(config["run"]["target"] == "es");
  CHECK(config["run"]["steps"] == result["steps"]);
  CHECK(Json::parse(Checkpoint::load(out + "/best.h5").text("config")) == config);

  REQUIRE(run(kProgram, {"train", "--config", out + "/config.json", "--out", directory / "again"}).status == 0);
  CHECK(read_bytes(out + "/last.h5") == read_bytes(directory / "again/last.h5"));
}

TEST_CASE("a translation run that was killed or interrupted ends like one left alone", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 60);
  const auto train = [&](const std::string& out) { return small_translation_training(data, out, kEverything); };
  SECTION("killed") { testing::check_killed_run(kProgram, train); }
  SECTION("interrupted") { testing::check_interrupted_run(kProgram, train); }
}

TEST_CASE("a translation run ends within its budget", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 60);
  const Finished finished =
      run(kProgram, small_translation_training(data, directory / "out",
                                               {"--set", "training.epochs=1000000", "--budget", "2s", "--json"}));
  INFO(finished.err);
  REQUIRE(finished.status == 0);
  const Json result = Json::parse(testing::last_line(finished.out));
  CHECK(result["seconds"].get<double>() < 4);  // other programs may run beside
  CHECK(result["steps"].get<int64_t>() > 1);
}

TEST_CASE("what cannot be trained on is named", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 20);
  const std::string out = directory / "out";
  const auto refused = [&](const std::string& folder, const std::string& error, const Words& more = {}) {
    check_error(run(kProgram, small_translation_training(folder, out, more)), 1, error);
    CHECK_FALSE(std::filesystem::exists(out + "/last.h5"));
  };
  refused(directory / "nowhere", directory / "nowhere: cannot be read: ");
  Words german = small_translation_training(data, out);
  std::replace(german.begin(), german.end(), std::string("es"), std::string("de"));
  check_error(run(kProgram, german), 1, data + ": no train.de, plain or .gz; languages of 'train' there: en, es");
  refused(data, "training.max_tokens is 2 and text.max_length 3",
          {"--set", "text.max_length=3", "--set", "training.max_tokens=2"});
  refused(data, "pairs are longer than 2 tokens", {"--set", "text.max_length=2"});
  refused(data, "train.es: line 1: ", {"--set", "text.max_length=3", "--set", "text.overlong=error"});
  refused(data, "cannot make 100000 pieces of this text",
          {"--set", "text.codec=bpe", "--set", "text.vocabulary=100000"});

  const auto with = [&](const std::string& file, const std::string& bytes) {
    write_pairs(directory, "data", 20);
    directory.write("data/" + file, bytes);
    return data;
  };
  refused(with("train.es", "una línea\n"), "train.en has 20 lines and ");
  refused(with("val.en", ""), "val.en");
  const std::string good = read_bytes(data + "/train.en");
  refused(with("train.en", good.substr(0, good.find('\n') + 1) +
                               "b\xFF"
                               "d" +
                               good.substr(good.find('\n'))),
          "train.en: line 2: ");
  write_pairs(directory, "data", 20);
  directory.write("blank/train.en", "\n\n");
  directory.write("blank/train.es", "\n\n");
  refused(directory / "blank", "blank/train.en");

  CHECK_FALSE(std::filesystem::exists(out + "/config.json"));
}

TEST_CASE("wrong usage of a translation's training ends with status 2", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const struct {
    Words words;
    const char* error;
  } cases[] = {
      {{"train"}, "--out"},
      {{"train", "--out", out, "--data", "x"}, "--data needs --source and --target"},
      {{"train", "--out", out, "--source", "de"}, "the embedded grammar is from en to es"},
      {{"train", "--out", out, "--preset", "rnn"},
       "preset 'rnn' is not known, expected one of grammar, transformer-tiny"},
      {{"train", "--out", out, "--set", "model.attention=soft"},
       "model.attention is \"soft\", expected one of none, dot"},
      {{"train", "--out", out, "--set", "training.select=rouge"}, "expected one of bleu, tokenised-bleu, loss"},
      {{"train", "--out", out, "--budget", "soon"}, "expected a time above 0"},
  };
  for (const auto& [words, error] : cases) check_error(run(kProgram, words), 2, error);
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("a translation resumes only a run of its own", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = write_pairs(directory, "data", 20);
  const std::string out = directory / "out";
  REQUIRE(run(kProgram, small_translation_training(data, out, {"--epochs", "1"})).status == 0);
  check_error(run(kProgram, {"train", "--resume", "--out", out, "--set", "model.dim=32"}), 2,
              "model.dim is 32 here but 16 in the run");
  write_pairs(directory, "data", 21);
  check_error(run(kProgram, {"train", "--resume", "--out", out}), 1,
              "cannot be resumed: loader: the position was saved");

  Checkpoint other;
  other.put_text("config", R"({"program": "attune-sentiment"})");
  std::filesystem::create_directories(directory / "other");
  other.save(directory / "other/last.h5");
  check_error(run(kProgram, {"train", "--resume", "--out", directory / "other"}), 1,
              "other/last.h5: made by program \"attune-sentiment\", expected attune-translation");
}

}  // namespace
}  // namespace attune
