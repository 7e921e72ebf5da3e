// A run that does not stay finite ends, keeps what it had saved, and its weights are used by nobody.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
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
using Catch::Matchers::Matches;
using Json = nlohmann::json;
using testing::check_error;
using testing::Finished;
using testing::last_line;
using testing::read_bytes;
using testing::run;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

bool all_finite(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() != DType::kFloat32) continue;
    for (const float x : tensor.to_vector<float>()) {
      if (!std::isfinite(x)) return false;
    }
  }
  return true;
}

/// A copy of a checkpoint in which every entry goes through `change`.
void rewrite(const std::string& from, const std::string& to,
             const std::function<void(const std::string& path, Checkpoint::Value& value)>& change) {
  const Checkpoint old = Checkpoint::load(from);
  Checkpoint changed;
  for (const Checkpoint::Entry& entry : old.entries()) {
    Checkpoint::Value value = entry.value;
    change(entry.path, value);
    if (const auto* tensor = std::get_if<Tensor>(&value)) changed.put(entry.path, *tensor);
    if (const auto* text = std::get_if<std::string>(&value)) changed.put_text(entry.path, *text);
    if (const auto* list = std::get_if<std::vector<std::string>>(&value)) changed.put_list(entry.path, *list);
  }
  changed.save(to);
}

TEST_CASE("a run without clipping whose weights leave the numbers ends there and keeps what was saved", "[program]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(300));
  const std::string pairs = testing::write_pairs(directory, "pairs", 300);
  const Words settings = {"--set", "training.learning_rate=1e15", "--set", "training.clip_norm=0",
                          "--set", "training.save_every=0",       "--set", "training.warmup=0"};
  const auto with = [&](Words words) {
    words.insert(words.end(), settings.begin(), settings.end());
    return words;
  };
  const struct {
    const char* program;
    Words command;
  } cases[] = {
      {"attune-sentiment", with(testing::small_training(data, directory / "attune-sentiment"))},
      {"attune-translation", with(testing::small_translation_training(pairs, directory / "attune-translation"))},
      {"attune-captioning", with(testing::small_caption_training(directory / "attune-captioning", {"run.scenes=60"}))}};
  for (const auto& [program, command] : cases) {
    INFO(program);
    const std::string out = directory / program;
    const Finished finished = run(program, command);
    INFO(finished.err);
    CHECK(finished.status == 1);
    CHECK(finished.out.empty());
    const std::string error = last_line(finished.err);
    CHECK_THAT(error,
               Matches("error: step [0-9]+: (the loss is -?(nan|inf)|AdamW: .*parameter '[a-z0-9_.]+' .*|'.*' [^']*of "
                       "the model holds NaN or infinity); the run ends here; .*; train again with "
                       "training.learning_rate below (1e\\+15|1000000000000000), training.clip_norm=1"));
    // What there is can be used, and is no later than the last step that was finite.
    if (fs::exists(out + "/last.h5")) {
      CHECK_THAT(error, ContainsSubstring(out + "/last.h5"));
      CHECK(all_finite(Checkpoint::load(out + "/last.h5").tensors("model")));
    }
    if (fs::exists(out + "/best.h5")) CHECK(all_finite(Checkpoint::load(out + "/best.h5").tensors("model")));
    std::istringstream log(read_bytes(out + "/log.jsonl"));
    for (std::string line; std::getline(log, line);) CHECK(Json::accept(line));
  }
}

TEST_CASE("weights that are not finite are used by nobody", "[program]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  const std::string pairs = testing::write_pairs(directory, "pairs", 20);
  const std::string picture = testing::program_path("nothing.png");
  const struct {
    const char* program;
    Words command;
    std::vector<Words> readers;
  } cases[] = {{"attune-sentiment",
                testing::small_training(data, directory / "attune-sentiment"),
                {{"predict", "--text", "a good film"}, {"eval", "--data", data}}},
               {"attune-translation",
                testing::small_translation_training(pairs, directory / "attune-translation"),
                {{"translate"}, {"eval", "--source-file", pairs + "/val.en", "--reference-file", pairs + "/val.es"}}},
               {"attune-captioning",
                testing::small_caption_training(directory / "attune-captioning", {}),
                {{"caption", picture}, {"eval"}}}};
  for (const auto& [program, command, readers] : cases) {
    const std::string out = directory / program;
    REQUIRE(run(program, command).status == 0);
    const std::string good = out + "/good.h5", bad = out + "/bad.h5";
    fs::copy_file(out + "/last.h5", good);
    for (const double value : {std::nan(""), HUGE_VAL}) {
      std::string name;
      const auto spoil = [&](const std::string& path, Checkpoint::Value& given) {
        auto* tensor = std::get_if<Tensor>(&given);
        if (!name.empty() || tensor == nullptr || !path.starts_with("model/") || tensor->rank() != 1) return;
        name = path.substr(6);
        std::replace(name.begin(), name.end(), '/', '.');
        *tensor = tensor->clone();
        tensor->slice(0, 1, 2).fill_(value);
      };
      rewrite(out + "/best.h5", bad, spoil);
      REQUIRE_FALSE(name.empty());
      INFO(program << ' ' << name);
      const std::string error = bad + ": its weights are of no use: '" + name + "' [";
      for (Words reader : readers) {
        reader.insert(reader.begin() + 1, {"--checkpoint", bad});
        check_error(run(program, reader), 1, error);
      }
      Words init = command;
      init[2] = directory / "init";  // behind --out
      init.insert(init.end(), {"--init", bad});
      check_error(run(program, init), 1, error);
      name.clear();
      rewrite(good, out + "/last.h5", spoil);
      check_error(run(program, {"train", "--resume", "--out", out}), 1,
                  out + "/last.h5: cannot be resumed: its weights are of no use: '" + name + "' [");
    }
  }
}

TEST_CASE("figures that are NaN can be read again, and are never the best", "[program]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(60));
  const std::string pairs = testing::write_pairs(directory, "pairs", 30);
  const struct {
    const char* program;
    Words command;
  } cases[] = {{"attune-sentiment", testing::small_training(data, directory / "attune-sentiment")},
               {"attune-translation", testing::small_translation_training(pairs, directory / "attune-translation")}};
  for (const auto& [program, command] : cases) {
    INFO(program);
    const std::string out = directory / program;
    REQUIRE(run(program, command).status == 0);
    // As runs were saved that went on with NaN.
    const std::string old = out + "/old.h5";
    fs::copy_file(out + "/last.h5", old);
    rewrite(old, out + "/last.h5", [](const std::string& path, Checkpoint::Value& value) {
      if (path != "state/progress") return;
      Json progress = Json::parse(std::get<std::string>(value));
      progress["since_evaluation"]["loss_sum"] = nullptr;
      progress["best"]["loss"] = nullptr;
      progress.erase("evaluated_step");
      if (progress.contains("scores")) progress["scores"]["bleu"] = nullptr;
      value = progress.dump();
    });
    const int64_t epochs = Json::parse(read_bytes(out + "/config.json"))["training"]["epochs"];
    const Finished resumed =
        run(program, {"train", "--resume", "--out", out, "--epochs", std::to_string(epochs + 1), "--json"});
    INFO(resumed.err);
    REQUIRE(resumed.status == 0);
    // Whatever comes is better than what was called the best and cannot be compared with anything.
    const Json line = Json::parse(last_line(read_bytes(out + "/log.jsonl")));
    CHECK(line["best"] == true);
    CHECK(line["train_loss"].is_null());
    CHECK(Json::parse(last_line(resumed.out))["best_step"] == line["step"]);
  }
}

}  // namespace
}  // namespace attune
