// attune-sentiment from the outside: what it prints and leaves behind.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <sstream>
#include <string>

#include "examples/sentiment/config.h"
#include "framework/checkpoint.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/sentiment.h"

namespace attune {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::Finished;
using testing::last_line;
using testing::read_bytes;
using testing::run;
using testing::small_training;
using testing::TemporaryDirectory;

constexpr const char* kProgram = "attune-sentiment";

TEST_CASE("train, eval and predict agree with each other", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write_gzip("data.tsv.gz", testing::review_lines(60));
  const std::string out = directory / "out";
  const Finished trained =
      run(kProgram, small_training(data, out, {"--json", "--seed", "7", "--set", "training.average_decay=0.9"}));
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const Json result = Json::parse(last_line(trained.out));
  CHECK(result["steps"] == 3);
  CHECK(result["complete"] == true);

  std::istringstream log(read_bytes(out + "/log.jsonl"));
  std::string line;
  int evaluations = 0;
  Json best;
  while (std::getline(log, line)) {
    ++evaluations;
    if (const Json entry = Json::parse(line); entry["best"] == true) best = entry;
  }
  CHECK(evaluations == 3);
  CHECK(best["accuracy"] == result["accuracy"]);
  CHECK(best["step"] == result["best_step"]);

  const Json config = Json::parse(read_bytes(out + "/config.json"));
  CHECK(config["run"]["seed"] == 7);
  CHECK(config["run"]["steps"] == 3);
  CHECK(config["model"]["dim"] == 16);
  CHECK(Json::parse(Checkpoint::load(out + "/best.h5").text("config")) == config);

  const Finished evaluated = run(kProgram, {"eval", "--checkpoint", out + "/best.h5", "--data", data, "--json"});
  CHECK(evaluated.err.empty());
  const Json scores = Json::parse(last_line(evaluated.out));
  CHECK(scores["accuracy"] == best["accuracy"]);
  CHECK(scores["loss"].get<double>() == Approx(best["loss"].get<double>()));
  CHECK(scores["f1"] == best["f1"]);
  CHECK(scores["count"] == 60);

  // last.h5 holds the weights of the last step and their average, and it is the average that is used.
  const Json final_scores =
      Json::parse(last_line(run(kProgram, {"eval", "--checkpoint", out + "/last.h5", "--data", data, "--json"}).out));
  CHECK(final_scores["loss"].get<double>() == Approx(Json::parse(last_line(read_bytes(out + "/log.jsonl")))["loss"]));

  // Another number of threads, other batches: the same texts one by one.
  int right = 0;
  std::istringstream lines(testing::review_lines(60));
  std::string texts;
  std::vector<int> labels;
  while (std::getline(lines, line)) {
    labels.push_back(line[0] - '0');
    texts += line.substr(2) + "\n\n";  // blank lines are passed over
  }
  const Finished predicted =
      run(kProgram, {"predict", "--checkpoint", out + "/best.h5", "--json", "--threads", "1"}, texts);
  CHECK(predicted.err.empty());
  std::istringstream answers(predicted.out);
  for (const int label : labels) {
    REQUIRE(std::getline(answers, line));
    const Json answer = Json::parse(line);
    right += answer["label"] == label;
    CHECK(answer["name"] == (answer["label"] == 1 ? "positive" : "negative"));
    CHECK(answer["probability"].get<double>() >= 0.5);
    double attention = 0;
    for (const Json& token : answer["tokens"]) attention += token["attention"].get<double>();
    CHECK(attention == Approx(1).margin(1e-5));
  }
  CHECK_FALSE(std::getline(answers, line));
  CHECK(right / 60.0 == Approx(scores["accuracy"].get<double>()));
}

TEST_CASE("a configuration that a run left behind repeats the run", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write(
      "data.tsv", "sentence\tlabel\n" + [] {
        std::string lines;
        std::istringstream swapped(testing::review_lines(40));
        for (std::string line; std::getline(swapped, line);) lines += line.substr(2) + '\t' + line[0] + '\n';
        return lines;
      }());
  REQUIRE(run(kProgram, small_training(data, directory / "a", {"--seed", "3"})).status == 0);
  REQUIRE(run(kProgram, {"train", "--config", directory / "a/config.json", "--out", directory / "b"}).status == 0);
  CHECK(read_bytes(directory / "a/last.h5") == read_bytes(directory / "b/last.h5"));

  REQUIRE(run(kProgram, {"train", "--config", directory / "a/config.json", "--out", directory / "c", "--seed", "4"})
              .status == 0);
  CHECK(read_bytes(directory / "a/last.h5") != read_bytes(directory / "c/last.h5"));
}

TEST_CASE("a budget plans fewer steps, and only where needed", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(400));
  const Finished short_run =
      run(kProgram,
          small_training(data, directory / "short", {"--set", "training.epochs=1000000", "--budget", "2s", "--json"}));
  INFO(short_run.err);
  REQUIRE(short_run.status == 0);
  const Json result = Json::parse(last_line(short_run.out));
  CHECK(result["seconds"].get<double>() < 4);  // other programs may run beside
  CHECK(result["steps"].get<int64_t>() > 1);

  const Finished long_run = run(kProgram, small_training(data, directory / "long", {"--budget", "1h", "--json"}));
  CHECK(Json::parse(last_line(long_run.out))["steps"] == 3 * 7);
  // The plan decides, not the measurement that made it: the weights are those of a run without a budget.
  REQUIRE(run(kProgram, small_training(data, directory / "free")).status == 0);
  CHECK(read_bytes(directory / "long/last.h5") == read_bytes(directory / "free/last.h5"));
}

TEST_CASE("without a file for development a tenth of the data is held out", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(300));
  const Finished finished = run(kProgram, {"train", "--data", data, "--out", directory / "out", "--preset", "reviews",
                                           "--epochs", "1", "--set", "model.dim=16"});
  CHECK(finished.status == 0);
  CHECK_THAT(finished.err, ContainsSubstring("a tenth of them held out"));
}

TEST_CASE("predict writes a page of the weights", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  REQUIRE(run(kProgram, small_training(data, directory / "out", {"--set", "training.epochs=1"})).status == 0);
  const std::vector<std::string> command = {"predict", "--checkpoint", directory / "out/best.h5", "--html",
                                            directory / "page.html"};
  const Finished finished = run(kProgram, command, "not bad at all .\n\n<b>dull</b> .\n");
  CHECK(finished.err.empty());
  CHECK(std::count(finished.out.begin(), finished.out.end(), '\n') == 2);
  const std::string page = read_bytes(directory / "page.html");
  for (const char* part : {"not bad at all .", "\\u003cb>dull\\u003c/b> .", "member0.encoder.block0.attn",
                           "member0.pool", "the pooled vector"}) {
    CHECK_THAT(page, ContainsSubstring(part));
  }
  const Finished nothing = run(kProgram, command, "\n");
  CHECK(nothing.status == 1);
  CHECK_THAT(nothing.err, ContainsSubstring("page.html: no texts to show, expected at least one"));
}

TEST_CASE("settings survive their JSON", "[sentiment]") {
  using namespace examples;
  Config config = preset("sst2");
  config.run = {.data = "a \"b\".tsv", .dev = "", .seed = ~uint64_t{0} >> 1, .threads = 3, .steps = 12};
  config.training.learning_rate = 0.1 + 0.2;
  Config copy;
  settings_of(copy).update_from_json(to_json(config), "config.json");
  CHECK(copy == config);
}

}  // namespace
}  // namespace attune
