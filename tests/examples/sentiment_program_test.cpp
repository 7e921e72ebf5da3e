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
    texts += line.substr(2) + "\n\n";
  }
  const Finished predicted =
      run(kProgram, {"predict", "--checkpoint", out + "/best.h5", "--json", "--threads", "1"}, texts);
  CHECK(predicted.err.empty());
  std::istringstream answers(predicted.out);
  int number = 0;
  for (const int label : labels) {
    REQUIRE(std::getline(answers, line));
    const Json answer = Json::parse(line);
    ++number;
    CHECK(answer["line"] == 2 * number - 1);
    right += answer["label"] == label;
    CHECK(answer["name"] == (answer["label"] == 1 ? "positive" : "negative"));
    CHECK(answer["probability"].get<double>() >= 0.5);
    double attention = 0;
    for (const Json& token : answer["tokens"]) attention += token["attention"].get<double>();
    CHECK(attention == Approx(1).margin(1e-5));
    // A blank line has its answer too.
    REQUIRE(std::getline(answers, line));
    CHECK(Json::parse(line) == Json{{"line", 2 * number},
                                    {"text", ""},
                                    {"label", nullptr},
                                    {"name", nullptr},
                                    {"probability", nullptr},
                                    {"truncated", false},
                                    {"tokens", Json::array()}});
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
  const std::string page_out = finished.out;
  CHECK(std::count(page_out.begin(), page_out.end(), '\n') == 3);
  CHECK_THAT(page_out, ContainsSubstring("\n\n"));
  const std::string page = read_bytes(directory / "page.html");
  for (const char* part : {"not bad at all .", "\\u003cb>dull\\u003c/b> .", "member0.encoder.block0.attn",
                           "member0.pool", "the pooled vector"}) {
    CHECK_THAT(page, ContainsSubstring(part));
  }
  const Finished nothing = run(kProgram, command, "\n");
  CHECK(nothing.status == 1);
  CHECK_THAT(nothing.err, ContainsSubstring("page.html: no texts to show, expected at least one"));
}

TEST_CASE("predict has a line for each line, whatever that is", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  REQUIRE(run(kProgram, small_training(data, directory / "out", {"--set", "training.epochs=1"})).status == 0);
  const std::vector<std::string> command = {"predict", "--checkpoint", directory / "out/best.h5"};
  const Finished finished = run(kProgram, command, "\xEF\xBB\xBFgood .\r\n\n  \n\xC2\xAD\xE2\x80\x8B\n.\nnot good");
  CHECK(finished.status == 0);
  CHECK(finished.err.empty());
  std::vector<std::string> lines;
  std::istringstream in(finished.out);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  REQUIRE(lines.size() == 6);
  for (const size_t spoken : {0, 4, 5})
    CHECK_THAT(lines[spoken], ContainsSubstring("itive") || ContainsSubstring("ative"));
  for (const size_t silent : {1, 2, 3}) CHECK(lines[silent].empty());
  CHECK(run(kProgram, command, "").out.empty());
}

TEST_CASE("texts that are too long are cut where that is asked for, and said to be", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  REQUIRE(run(kProgram, small_training(data, directory / "out", {"--set", "text.max_length=40"})).status == 0);
  std::string words = "good";
  for (int i = 0; i < 39; ++i) words += " fine";
  const std::string longer = words + " bad bad bad";
  const std::string checkpoint = directory / "out/best.h5";
  const auto predict = [&](std::vector<std::string> more, const std::string& input) {
    more.insert(more.begin(), {"predict", "--checkpoint", checkpoint});
    return run(kProgram, more, input);
  };
  const std::string page = directory / "page.html";
  const Finished cut = predict({"--truncate", "--json", "--html", page}, words + "\n" + longer + "\n\n");
  CHECK(cut.status == 0);
  CHECK(cut.err == "warning: 1 of 2 texts have more than 40 tokens: only so many were looked at\n");
  std::istringstream in(cut.out);
  std::string first, second, third;
  REQUIRE(std::getline(in, first));
  REQUIRE(std::getline(in, second));
  REQUIRE(std::getline(in, third));
  const Json whole = Json::parse(first), shortened = Json::parse(second);
  CHECK(whole["truncated"] == false);
  CHECK(shortened["truncated"] == true);
  CHECK(shortened["text"] == longer);
  CHECK(shortened["line"] == 2);
  CHECK(shortened["probability"] == whole["probability"]);
  CHECK(shortened["tokens"] == whole["tokens"]);
  CHECK_THAT(read_bytes(page), ContainsSubstring("member0.pool"));

  // Without it the line is named, after those before it, and what to do.
  const Finished refused = predict({}, words + "\n\n" + longer + "\n" + words + "\n");
  CHECK(refused.status == 1);
  CHECK(std::count(refused.out.begin(), refused.out.end(), '\n') == 2);
  CHECK(refused.err ==
        "error: standard input: line 3: 43 tokens, the model takes at most 40; shorten the text or give --truncate\n");

  const std::string texts = directory.write("dev.tsv", "1\t" + words + "\n0\t" + longer + "\n");
  const Finished evaluated = run(kProgram, {"eval", "--checkpoint", checkpoint, "--data", texts, "--truncate"});
  CHECK(evaluated.status == 0);
  CHECK_THAT(evaluated.out,
             ContainsSubstring("50.00% of 2") && ContainsSubstring("1 texts of more than 40 tokens cut"));
  const Finished overlong = run(kProgram, {"eval", "--checkpoint", checkpoint, "--data", texts});
  CHECK(overlong.status == 1);
  CHECK(overlong.err ==
        "error: " + texts + ": line 2: 43 tokens, the model takes at most 40; shorten the text or give --truncate\n");
  const Finished training = run(kProgram, small_training(texts, directory / "new", {"--set", "text.max_length=40"}));
  CHECK(training.err == "error: " + texts +
                            ": line 2: 43 tokens, the model takes at most 40; shorten the text or give --set "
                            "text.truncate=true\n");
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
