// What becomes of the folder of a run: killed before anything was saved, finished and damaged, overwritten, extended,
// begun with another run's weights.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "framework/checkpoint.h"
#include "tests/support/captioning.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/sentiment.h"
#include "tests/support/training_runs.h"
#include "tests/support/translation.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::check_error;
using testing::Finished;
using testing::last_line;
using testing::read_bytes;
using testing::run;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

constexpr const char* kFiles[] = {"last.h5", "best.h5", "config.json", "log.jsonl"};

/// The files of a run, those that are there.
std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = read_bytes(entry.path().string());
  }
  return files;
}

/// A program with the command line that trains into a folder.
struct Program {
  const char* name;
  testing::TrainCommand train;
};

std::vector<Program> programs(const TemporaryDirectory& directory) {
  const std::string reviews = directory.write("data.tsv", testing::review_lines(60));
  const std::string pairs = testing::write_pairs(directory, "pairs", 30);
  return {{"attune-sentiment",
           [=](const std::string& out) {
             return testing::small_training(reviews, out, {"--seed", "9", "--set", "training.average_decay=0.9"});
           }},
          {"attune-translation",
           [=](const std::string& out) {
             return testing::small_translation_training(pairs, out, {"--seed", "9"});
           }},
          {"attune-captioning", [](const std::string& out) {
             return testing::small_caption_training(out, {}, {"--seed", "9"});
           }}};
}

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_CASE("a run that was killed before its first save goes on as its config.json says", "[program]") {
  const TemporaryDirectory directory;
  for (const Program& program : programs(directory)) {
    INFO(program.name);
    const std::string alone = directory / program.name + ".alone", killed = directory / program.name + ".killed";
    REQUIRE(run(program.name, program.train(alone)).status == 0);
    // What is there after such a kill: the first file, with or without the plan, and perhaps an empty log.
    for (const bool planned : {true, false}) {
      fs::remove_all(killed);
      fs::create_directories(killed);
      Json config = Json::parse(read_bytes(alone + "/config.json"));
      if (!planned) config["run"]["steps"] = 0;
      directory.write(std::string(program.name) + ".killed/config.json", config.dump());
      if (planned) directory.write(std::string(program.name) + ".killed/log.jsonl", "");
      // Without --resume it is not overwritten, and with it it is no other run.
      const auto before = files_of(killed);
      check_error(run(program.name, program.train(killed)), 1, "holds a run already; go on with it by --resume");
      check_error(run(program.name, {"train", "--resume", "--out", killed, "--seed", "1"}), 2,
                  "--resume: run.seed is 1 here but 9 in the run of " + killed);
      CHECK(files_of(killed) == before);
      const Finished resumed = run(program.name, {"train", "--resume", "--out", killed});
      INFO(resumed.err);
      CHECK(resumed.status == 0);
      CHECK_THAT(resumed.err, ContainsSubstring("begun again as " + killed + "/config.json says"));
      CHECK(files_of(killed) == files_of(alone));
    }
  }
}

TEST_CASE("a run is in its folder before its data are read", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(4000));
  const std::string out = directory / "out";
  // Killed at whatever moment: what is there begins with config.json, and is gone on with.
  const Words command = testing::small_training(data, out, {"--seed", "9", "--set", "training.epochs=1"});
  for (const int moment : {5, 20, 40, 80, 160}) {
    fs::remove_all(out);
    testing::run_and_signal("attune-sentiment", command, moment, SIGKILL);
    const bool holds = fs::exists(out) && !fs::is_empty(out);
    INFO(moment << " ms, " << (holds ? "begun" : "not begun"));
    if (fs::exists(out + "/log.jsonl") || fs::exists(out + "/last.h5")) CHECK(fs::exists(out + "/config.json"));
    if (!fs::exists(out + "/config.json")) continue;
    CHECK(Json::parse(read_bytes(out + "/config.json"))["run"]["seed"] == 9);
    REQUIRE(run("attune-sentiment", {"train", "--resume", "--out", out}).status == 0);
    CHECK(Json::parse(Checkpoint::load(out + "/last.h5").text("config"))["run"]["seed"] == 9);
  }
  // A run that is not accepted leaves nothing.
  const std::string nowhere = directory / "refused";
  check_error(run("attune-sentiment", testing::small_training(directory / "nowhere", nowhere)), 1, "nowhere");
  CHECK(fs::is_empty(nowhere));
}

TEST_CASE("a finished run whose last.h5 is gone is not overwritten unless that is asked for", "[program]") {
  const TemporaryDirectory directory;
  for (const Program& program : programs(directory)) {
    INFO(program.name);
    const std::string out = directory / program.name;
    REQUIRE(run(program.name, program.train(out)).status == 0);
    const auto finished = files_of(out);
    fs::remove(out + "/last.h5");
    directory.write(std::string(program.name) + "/notes.txt", "mine");
    const auto before = files_of(out);
    check_error(run(program.name, program.train(out)), 1, "--out " + out + ": holds a run already");
    const std::string gone = "holds a run that cannot go on: its last.h5 is gone; begin anew over it by --overwrite";
    check_error(run(program.name, with(program.train(out), {"--resume"})), 1, gone);
    check_error(run(program.name, {"train", "--resume", "--out", out}), 1, gone);
    check_error(run(program.name, with(program.train(out), {"--resume", "--overwrite"})), 2, "--overwrite");
    // Nor by a run that is not accepted.
    CHECK(run(program.name, with(program.train(out), {"--overwrite", "--set", "training.learning_rate=0"})).status ==
          1);
    CHECK(run(program.name, {"train", "--out", out, "--overwrite", "--data", directory / "nowhere"}).status != 0);
    CHECK(files_of(out) == before);
    for (const char* rest : {"best.h5", "log.jsonl"}) {
      fs::remove(out + "/" + rest);
      CHECK(run(program.name, program.train(out)).status == 1);
    }

    CHECK(run(program.name, with(program.train(out), {"--overwrite"})).status == 0);
    auto anew = files_of(out);
    CHECK(anew.extract("notes.txt").mapped() == "mine");
    CHECK(anew == finished);
    // Over a whole run as well, which then is another one.
    CHECK(
        run(program.name, with(program.train(out), {"--overwrite", "--set", "training.label_smoothing=0.25"})).status ==
        0);
    CHECK(Json::parse(Checkpoint::load(out + "/last.h5").text("config"))["training"]["label_smoothing"] == 0.25);
  }
}

TEST_CASE("a finished run goes on for more epochs", "[program]") {
  const TemporaryDirectory directory;
  for (const Program& program : programs(directory)) {
    INFO(program.name);
    const std::string out = directory / program.name;
    REQUIRE(run(program.name, program.train(out)).status == 0);
    const Json before = Json::parse(last_line(read_bytes(out + "/log.jsonl")));
    const int64_t epochs = Json::parse(read_bytes(out + "/config.json"))["training"]["epochs"];
    const auto same = files_of(out);
    const Words resume = {"train", "--resume", "--out", out};
    check_error(run(program.name, with(resume, {"--epochs", std::to_string(epochs - 1)})), 2, "training.epochs is ");
    CHECK(files_of(out) == same);

    const Words more = with(resume, {"--epochs", std::to_string(epochs + 2), "--json"});
    const Finished extended = run(program.name, more);
    INFO(extended.err);
    REQUIRE(extended.status == 0);
    const Json result = Json::parse(last_line(extended.out));
    CHECK(result["complete"] == true);
    CHECK(result["steps"] == before["step"].get<int64_t>() * (epochs + 2) / epochs);
    const std::string log = read_bytes(out + "/log.jsonl");
    CHECK(log.starts_with(same.at("log.jsonl")));
    CHECK(Json::parse(last_line(log))["epoch"] == epochs + 2);
    const Json config = Json::parse(read_bytes(out + "/config.json"));
    CHECK(config["training"]["epochs"] == epochs + 2);
    CHECK(config["run"]["steps"] == result["steps"]);
    CHECK(Json::parse(Checkpoint::load(out + "/last.h5").text("config")) == config);
    // The same command again, and the one without epochs: there is nothing left to do.
    const auto extended_files = files_of(out);
    CHECK(run(program.name, more).status == 0);
    CHECK(run(program.name, resume).status == 0);
    CHECK(files_of(out) == extended_files);
  }
}

TEST_CASE("a run that is extended ends the same however it is killed", "[program][translation]") {
  const TemporaryDirectory directory;
  const std::string data = testing::write_pairs(directory, "pairs", 60);
  const auto command = [&](const std::string& out, int epochs) {
    return testing::small_translation_training(
        data, out,
        {"--epochs", std::to_string(epochs), "--set", "training.save_every=0", "--set", "training.accumulation=2",
         "--set", "training.patience=2", "--set", "training.average_best=2"});
  };
  const std::string alone = directory / "alone", killed = directory / "killed";
  for (const std::string& out : {alone, killed}) REQUIRE(run("attune-translation", command(out, 2)).status == 0);
  const Words alone_more = with(command(alone, 5), {"--resume"}), killed_more = with(command(killed, 5), {"--resume"});
  REQUIRE(run("attune-translation", alone_more).status == 0);
  for (int moment = 60; moment < 400; moment += 60) {
    testing::run_and_signal("attune-translation", killed_more, moment, SIGKILL);
  }
  REQUIRE(run("attune-translation", killed_more).status == 0);
  CHECK(files_of(alone) == files_of(killed));
}

TEST_CASE("a run begins with the weights of another one", "[program]") {
  const TemporaryDirectory directory;
  for (const Program& program : programs(directory)) {
    INFO(program.name);
    const std::string first = directory / program.name + ".first", second = directory / program.name + ".second";
    REQUIRE(run(program.name, program.train(first)).status == 0);
    // A learning rate that moves nothing: what is evaluated are the weights that it began with.
    const Words still = {"--set", "training.learning_rate=1e-30", "--init", first + "/best.h5"};
    const Finished begun = run(program.name, with(program.train(second), still));
    INFO(begun.err);
    REQUIRE(begun.status == 0);
    const auto weights = [](const std::string& file) {
      std::vector<float> all;
      for (const auto& [name, tensor] : Checkpoint::load(file).tensors("model")) {
        if (tensor.dtype() != DType::kFloat32 || name.find("running") != std::string::npos) continue;
        const std::vector<float> some = tensor.to_vector<float>();
        all.insert(all.end(), some.begin(), some.end());
      }
      return all;
    };
    if (std::string(program.name) != "attune-sentiment") {  // that one has an average, and decays by its own rate
      const std::vector<float> begun_with = weights(first + "/best.h5"), ended_with = weights(second + "/last.h5");
      REQUIRE(begun_with.size() == ended_with.size());
      bool same = true;
      for (size_t i = 0; i < begun_with.size(); ++i) same = same && std::abs(begun_with[i] - ended_with[i]) < 1e-20F;
      CHECK(same);
    }
    CHECK(Json::parse(read_bytes(second + "/config.json"))["run"]["init"] == first + "/best.h5");
    // It is a part of the run.
    const auto files = files_of(second);
    for (const char* file : {"last.h5", "best.h5", "log.jsonl"}) fs::remove(second + "/" + file);
    REQUIRE(run(program.name, {"train", "--resume", "--out", second}).status == 0);
    CHECK(files_of(second) == files);
    check_error(run(program.name, {"train", "--resume", "--out", second, "--init", first + "/last.h5"}), 2,
                "run.init is ");

    // Text and model are as in the checkpoint where no others are asked for; the data are named anew.
    const std::string third = directory / program.name + ".third";
    Words plain = {"train", "--out", third, "--init", first + "/last.h5", "--epochs", "1", "--threads", "2"};
    if (std::string(program.name) == "attune-sentiment") {
      plain.insert(plain.end(), {"--data", directory / "data.tsv", "--dev", directory / "data.tsv"});
    } else if (std::string(program.name) == "attune-translation") {
      plain.insert(plain.end(), {"--data", directory / "pairs", "--source", "en", "--target", "es"});
    } else {
      plain.insert(plain.end(), {"--set", "run.scenes=12"});
    }
    const Finished unchanged = run(program.name, with(plain, {"--set", "training.learning_rate=1e-30"}));
    INFO(unchanged.err);
    REQUIRE(unchanged.status == 0);
    CHECK(Json::parse(read_bytes(third + "/config.json"))["model"] ==
          Json::parse(read_bytes(first + "/config.json"))["model"]);

    // What does not fit is listed, with the file; nothing is left behind.
    const std::string wrong = directory / program.name + ".wrong";
    const Finished refused =
        run(program.name, with(program.train(wrong), {"--init", first + "/best.h5", "--set", "model.dim=32"}));
    check_error(refused, 1, "--init " + first + "/best.h5: its weights do not fit this model: ");
    CHECK_THAT(refused.err, ContainsSubstring("32"));
    CHECK(fs::is_empty(wrong));
    check_error(run(program.name, with(program.train(wrong), {"--init", directory / "none.h5"})), 1, "none.h5");
  }
  check_error(run("attune-translation",
                  {"train", "--out", directory / "x", "--init", directory / "attune-sentiment.first/best.h5"}),
              1, "made by program \"attune-sentiment\", expected attune-translation");
}

TEST_CASE("a run without an evaluation names no best weights", "[program]") {
  const TemporaryDirectory directory;
  for (const Program& program : programs(directory)) {
    INFO(program.name);
    const std::string out = directory / program.name;
    Finished finished;
    // Epochs without end, of which no first is over; the budget ends a resumed run at once.
    const Words begin =
        with(program.train(out), {"--set", "training.epochs=100000", "--set", "training.save_every=0", "--set",
                                  std::string(program.name) == "attune-sentiment" ? "training.batch_size=1"
                                                                                  : "training.evaluate_every=1000000"});
    for (int wait = 20; !fs::exists(out + "/last.h5"); wait *= 2) {
      REQUIRE(wait < 60000);
      fs::remove_all(out);
      finished = testing::run_and_signal(program.name, begin, wait, SIGTERM);
    }
    CHECK(finished.status == 143);
    if (fs::exists(out + "/best.h5")) continue;  // a fast machine
    const Finished resumed = run(program.name, {"train", "--resume", "--out", out, "--budget", "0.001s", "--json"});
    INFO(resumed.out);
    CHECK(resumed.status == 0);
    CHECK_THAT(resumed.out, ContainsSubstring("no evaluation yet") && ContainsSubstring(out + "/last.h5") &&
                                !ContainsSubstring("best.h5") && !ContainsSubstring("-100"));
    CHECK(Json::parse(last_line(resumed.out))["best_step"].is_null());
  }
}

TEST_CASE("a budget beyond all numbers plans all steps", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(60));
  REQUIRE(run("attune-sentiment", testing::small_training(data, directory / "free")).status == 0);
  for (const char* budget : {"1e300h", "1e308s", "1e9h"}) {
    INFO(budget);
    const std::string out = directory / budget;
    const Finished finished = run("attune-sentiment", testing::small_training(data, out, {"--budget", budget}));
    INFO(finished.err);
    CHECK(finished.status == 0);
    CHECK(files_of(out) == files_of(directory / "free"));
  }
}

}  // namespace
}  // namespace attune
