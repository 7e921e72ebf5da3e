// Bad input: one line that names what and where, exit status 1 or 2, and existing files as they were.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "framework/checkpoint.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/sentiment.h"
#include "tests/support/training_runs.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::check_error;
using testing::Finished;
using testing::read_bytes;
using testing::run;
using testing::small_training;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

constexpr const char* kProgram = "attune-sentiment";

/// A finished run to look at and to spoil: made once, since nothing in it changes.
class FinishedRun {
 public:
  static const FinishedRun& get() {
    static const FinishedRun run;
    return run;
  }
  std::string best() const { return out_ + "/best.h5"; }
  const std::string& data() const { return data_; }

 private:
  FinishedRun() : data_(directory_.write("data.tsv", testing::review_lines(40))), out_(directory_ / "out") {
    REQUIRE(run(kProgram, small_training(data_, out_, {"--set", "text.max_length=40"})).status == 0);
  }

  TemporaryDirectory directory_;
  std::string data_;
  std::string out_;
};

TEST_CASE("bad data names file, line and what was expected", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string best = FinishedRun::get().best();
  const struct {
    const char* name;
    std::string bytes;
    const char* error;
  } cases[] = {
      {"empty.tsv", "", "empty.tsv: the file is empty, expected 'label<TAB>text' with label 0 or 1"},
      {"blank.tsv", "\n  \n", "blank.tsv: no examples (2 empty), expected 'label<TAB>text'"},
      {"tab.tsv", "1\tgood\n0 bad\n", "tab.tsv: line 2: no tab in '0 bad', expected 'label<TAB>text'"},
      {"label.tsv", "1\tgood\n0\tbad\n2\tworse\n", "label.tsv: line 3: label '2' is not 0 or 1"},
      {"utf8.tsv",
       "1\tgood\n0\tb\xFF"
       "d\n",
       "utf8.tsv: line 2: "},
  };
  for (const auto& [name, bytes, error] : cases) {
    const std::string path = directory.write(name, bytes);
    check_error(run(kProgram, small_training(path, directory / "out")), 1, error);
    check_error(run(kProgram, {"eval", "--checkpoint", best, "--data", path}), 1, error);
  }
  const std::string one = directory.write("one.tsv", "1\tgood\n1\tfine\n");
  check_error(run(kProgram, small_training(one, directory / "out")), 1,
              "one.tsv: all 2 examples have label 1, expected both 0 and 1");

  std::string words;
  for (int i = 0; i < 41; ++i) words += " word";
  const std::string text = directory.write("long.tsv", "0\tbad\n1\t" + words + "\n");
  const std::string too_long = "long.tsv: line 2: 41 tokens, the model takes at most 40";
  check_error(run(kProgram, small_training(text, directory / "out", {"--set", "text.max_length=40"})), 1, too_long);
  check_error(run(kProgram, {"eval", "--checkpoint", best, "--data", text}), 1, too_long);
  check_error(run(kProgram, {"predict", "--checkpoint", best, "--text", words}), 1, "--text: 41 tokens, the model");
  check_error(run(kProgram, {"predict", "--checkpoint", best}, words + "\n"), 1, "standard input: line 1: 41 tokens");
  check_error(run(kProgram, {"predict", "--checkpoint", best}, std::string("go\0od\n", 6)), 1,
              "standard input: line 1: NUL byte, expected text");
  check_error(run(kProgram, {"predict", "--checkpoint", best}, std::string((size_t{1} << 20) + 1, 'a')), 1,
              "standard input: line 1: longer than 1048576 bytes, expected a text line");
  check_error(run(kProgram, {"predict", "--checkpoint", best},
                  "b\xFF"
                  "d\n"),
              1, "standard input: line 1: byte 2 ('\\xff') is not valid UTF-8");
  // What cannot be read is not taken for the end.
  const TemporaryDirectory errors;
  const std::string command =
      "'" + testing::program_path(kProgram) + "' predict --checkpoint '" + best + "' </ 2>'" + (errors / "err") + "'";
  CHECK(std::system(command.c_str()) != 0);
  CHECK(read_bytes(errors / "err") == "error: standard input: cannot be read: Is a directory\n");
  check_error(run(kProgram, {"predict", "--checkpoint", best, "--text", " "}), 1, "--text: no words in the text");
}

TEST_CASE("wrong paths are named", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string best = FinishedRun::get().best();
  const std::string missing = directory / "missing.tsv";
  check_error(run(kProgram, small_training(missing, directory / "out")), 1, "missing.tsv: ");
  check_error(run(kProgram, {"eval", "--checkpoint", best, "--data", missing}), 1, "missing.tsv: ");
  check_error(run(kProgram, {"eval", "--checkpoint", directory / "no.h5"}), 1, "no.h5: ");
  check_error(run(kProgram, {"eval", "--checkpoint", best}), 2, "--data is missing");
  check_error(run(kProgram, {"predict", "--checkpoint", directory.path(), "--text", "good"}), 1,
              directory.path().string());
  check_error(run(kProgram, {"train", "--out", directory / "out", "--config", directory / "no.json"}), 1, "no.json: ");

  std::filesystem::create_directories(directory.path() / "pos");
  check_error(run(kProgram, small_training(directory.path(), directory / "out")), 1, "a folder without");

  const std::string file = directory.write("file", "kept");
  check_error(run(kProgram, small_training(FinishedRun::get().data(), file)), 1, "--out " + file + ": ");
  check_error(run(kProgram, small_training(FinishedRun::get().data(), "/proc/attune")), 1, "--out /proc/attune: ");
  CHECK(read_bytes(file) == "kept");
  if (geteuid() != 0) {  // root may read everything
    const std::string hidden = directory.write("hidden.tsv", "1\tgood\n0\tbad\n");
    std::filesystem::permissions(hidden, std::filesystem::perms::none);
    check_error(run(kProgram, small_training(hidden, directory / "out")), 1, "hidden.tsv: ");
  }
}

TEST_CASE("wrong usage ends with status 2 and creates nothing", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const struct {
    Words words;
    const char* error;
  } cases[] = {
      {{}, "subcommand is required"},
      {{"trian"}, "trian"},
      {{"train"}, "--out"},
      {{"train", "--out", out, "--epoch", "3"}, "--epoch"},
      {{"train", "--out", out, "--epochs", "0"}, "expected a whole number from 1"},
      {{"train", "--out", out, "--epochs", "-3"}, "expected a whole number from 1"},
      {{"train", "--out", out, "--epochs", "many"}, "got 'many'"},
      {{"train", "--out", out, "--threads", "0"}, "expected a whole number from 1 to 1024"},
      {{"train", "--out", out, "--seed", "-1"}, "expected a whole number of at least 0"},
      {{"train", "--out", out, "--budget", "0m"}, "expected a time above 0 such as 90s, 10m or 1h, got '0m'"},
      {{"train", "--out", out, "--budget", "10 parsecs"}, "expected a time above 0"},
      {{"train", "--out", out, "--preset", "best"}, "preset 'best' is not known, expected one of reviews, sst2"},
      {{"train", "--out", out, "--set", "model.dim"}, "expected key=value"},
      {{"train", "--out", out, "--set", "model.dim=0"}, "model.dim is 0, expected a whole number from 1 to 8192"},
      {{"train", "--out", out, "--set", "model.dim=1.5"}, "model.dim is 1.5, expected a whole number"},
      {{"train", "--out", out, "--set", "model.size=3"}, "unknown setting 'model.size', expected one of model.members"},
      {{"train", "--out", out, "--set", "size=3"}, "unknown setting 'size'"},
      {{"train", "--out", out, "--set", "model.dropout=1"}, "model.dropout is 1, expected a number from 0 to below 1"},
      {{"train", "--out", out, "--set", "model.pooling=max"}, "expected one of attention, mean, first"},
      {{"train", "--out", out, "--dev", "dev.tsv"}, "--dev is given without --data"},
      {{"train", "--out", out, "--preset", "sst2", "--config", "a"}, "expected one of them"},
      {{"eval", "--checkpoint"}, "--checkpoint"},
      {{"predict", "--text", "good"}, "--checkpoint is required"},
  };
  for (const auto& [words, error] : cases) check_error(run(kProgram, words), 2, error);
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("a configuration names its file and what is wrong in it", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"{\n\"model\": {\n\"dim\": 12,,\n}}", "config.json: line 3: not JSON"},
      {"", "config.json: line 1: not JSON"},
      {"[1]", "config.json: array given, expected an object"},
      {"{\"model\": 3}", "config.json: model is 3, expected an object of settings"},
      {"{\"model\": {\"dims\": 3}}", "config.json: unknown setting 'model.dims', expected one of"},
      {"{\"modle\": {\"dim\": 3}}", "config.json: unknown setting 'modle.dim', expected one of text.*, model.*"},
      {"{\"model\": {\"dim\": \"3\"}}", "config.json: model.dim is \"3\", expected a whole number"},
      {"{\"text\": {\"truncate\": 1}}", "config.json: text.truncate is 1, expected true or false"},
      {"{\"model\": {\"dim\": 10, \"heads\": 3}}", "config.json: model.dim is 10 and model.heads 3"},
      {"{\"training\": {\"learning_rate\": -1}}", "training.learning_rate is -1, expected a number of at least 0"},
      {"{\"program\": \"attune-other\"}", "made by program \"attune-other\", expected attune-sentiment"},
  };
  for (const auto& [text, error] : cases) {
    const std::string path = directory.write("config.json", text);
    check_error(run(kProgram, {"train", "--out", directory / "out", "--config", path}), 1, error);
  }
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
}

TEST_CASE("a configuration that was made to do harm is a short message", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  const std::string nested = "{\"model\":\n" + deep + "}";
  const std::string number = "{\n\"model\": {\"dropout\": 1e999}}";
  const std::string value = R"({"model": {"positions": ")" + std::string(500000, 'v') + "\"}}";
  const std::string section = R"({"model": ")" + std::string(500000, 's') + "\"}";
  const std::string key = R"({"model": {")" + std::string(500000, 'k') + R"(\n": 1}})";
  const std::string large = R"({"model": ")" + std::string(2000000, 's') + "\"}";
  const std::pair<std::string, std::string> cases[] = {
      {nested, "line 2: lists and objects are nested deeper than 64, expected an object such as"},
      {number, "line 2: the number 1e999 is out of range"},
      {value, "model.positions is \"vvvvvvv"},
      {section, "model is \"sssssss"},
      {key, "unknown setting 'model.kkkkkk"},
      {large, "more than 1048576 bytes, which no configuration has"},
  };
  for (const auto& [text, error] : cases) {
    const std::string path = directory.write("config.json", text);
    const auto file = run(kProgram, {"train", "--out", directory / "out", "--config", path});
    check_error(file, 1, path + ": " + error);
    CHECK(file.err.size() < path.size() + 600);
    Checkpoint checkpoint;
    checkpoint.put_text("config", text);
    checkpoint.save(directory / "x.h5");
    const auto saved = run(kProgram, {"predict", "--checkpoint", directory / "x.h5", "--text", "good"});
    check_error(saved, 1, directory / "x.h5" + ": " + error);
    CHECK(saved.err.size() < path.size() + 600);
  }
  const auto option =
      run(kProgram, {"train", "--out", directory / "out", "--set", "model.dim=" + std::string(60000, '[')});
  check_error(option, 2, "model.dim is \"[[[");
  CHECK(option.err.size() < 500);
  check_error(run(kProgram, {"train", "--out", directory / "out", "--config", "/dev/zero"}), 1,
              "/dev/zero: more than 1048576 bytes, which no configuration has");
  CHECK_FALSE(std::filesystem::exists(directory / "out"));
}

TEST_CASE("a checkpoint of a few weights does not make a model of gigabytes", "[program][sentiment]") {
  const TemporaryDirectory directory;
  for (const char* model :
       {R"({"dim": 8192, "heads": 1, "ffn_dim": 65536, "blocks": 1024})", R"({"members": 64, "dim": 2048, "heads": 1})",
        R"({"blocks": 1024, "dim": 1024, "heads": 1})", R"({"dim": 8192, "heads": 1, "positions": "sinusoidal"})",
        R"({"dim": 1, "heads": 1, "blocks": 1024, "members": 64})"}) {
    INFO(model);
    Checkpoint huge;
    huge.put("model/weight", Tensor::zeros({2, 2}));
    huge.put_text(
        "config",
        fmt::format(R"({{"program": "attune-sentiment", "text": {{"max_length": 65536}}, "model": {}}})", model));
    huge.put_list("vocabulary", {"<pad>", "<unk>", "good"});
    huge.save(directory / "huge.h5");
    const auto begin = std::chrono::steady_clock::now();
    check_error(
        run(kProgram, {"predict", "--checkpoint", directory / "huge.h5", "--text", "good"}), 1,
        directory / "huge.h5" + ": its weights are not those of its configuration: 16 B are there, far too few");
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
  }
}

TEST_CASE("checkpoints that cannot be used are named", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string bytes = read_bytes(FinishedRun::get().best());
  const auto refused = [](const std::string& path, const std::string& error) {
    check_error(run(kProgram, {"predict", "--checkpoint", path, "--text", "good"}), 1, path + ": " + error);
  };
  refused(directory.write("cut.h5", bytes.substr(0, bytes.size() / 2)), "");
  std::string flipped = bytes;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x10);
  refused(directory.write("flipped.h5", flipped), "");
  refused(directory.write("text.h5", "not HDF5 at all"), "");
  refused(directory.write("empty.h5", ""), "");

  Checkpoint other;
  other.put("model/weight", Tensor::zeros({2, 2}));
  other.save(directory / "other.h5");
  refused(directory / "other.h5", "a checkpoint without configuration, expected one of attune-sentiment");
  other.put_text("config", R"({"program": "attune-translation"})");
  other.save(directory / "translation.h5");
  refused(directory / "translation.h5", "made by program \"attune-translation\", expected attune-sentiment");

  Checkpoint wrong;
  wrong.put("model/weight", Tensor::zeros({2, 2}));
  wrong.put_text("config", R"({"program": "attune-sentiment"})");
  wrong.put_list("vocabulary", {"<pad>", "<unk>", "good"});
  wrong.save(directory / "wrong.h5");
  refused(directory / "wrong.h5", "its weights are not those of its configuration");

  // The same when a run is resumed, and the damaged file stays for whoever wants to look at it.
  const std::string cut = directory.write("out/last.h5", bytes.substr(0, 1000));
  check_error(run(kProgram, {"train", "--resume", "--out", directory / "out"}), 1, cut + ": ");
  CHECK(read_bytes(cut) == bytes.substr(0, 1000));
}

/// While it lives, files of the programs started from here cannot grow beyond so many bytes: like a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_CASE("a disk that fills up leaves the old checkpoint", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  const std::string out = directory / "out";
  REQUIRE(run(kProgram, small_training(data, out, {"--budget", "1h"})).status == 0);
  const std::string last = read_bytes(out + "/last.h5");
  const std::string best = read_bytes(out + "/best.h5");
  REQUIRE(last.size() > 30000);

  const std::string second = directory / "second";
  Finished finished;
  {
    const FileSizeLimit full(20000);
    finished = run(kProgram, {"train", "--resume", "--out", out});
    const Finished begun = run(kProgram, small_training(data, second));
    CHECK(begun.status == 1);
    CHECK_THAT(testing::last_line(begun.err), ContainsSubstring("error: " + second + "/last.h5: cannot be written: "));
    CHECK_FALSE(std::filesystem::exists(second + "/best.h5"));
  }
  {
    const FileSizeLimit full(2000);
    check_error(run(kProgram, small_training(data, directory / "third")), 1, "third");
  }
  CHECK(finished.status == 1);
  CHECK_THAT(testing::last_line(finished.err), ContainsSubstring("error: " + out + "/last.h5: cannot be written: "));
  CHECK(read_bytes(out + "/last.h5") == last);
  CHECK(read_bytes(out + "/best.h5") == best);
  CHECK_FALSE(std::filesystem::exists(second + "/last.h5"));
  CHECK_FALSE(std::filesystem::exists(second + "/last.h5.tmp"));

  // With room again the run goes on.
  CHECK(run(kProgram, small_training(data, second, {"--resume"})).status == 0);
}

}  // namespace
}  // namespace attune
