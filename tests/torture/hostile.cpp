#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tests/torture/hostile_checkpoint.h"
#include "tests/torture/hostile_picture.h"
#include "tests/torture/mutate.h"
#include "tests/torture/run_folder.h"
#include "tests/torture/subjects.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

/// Runs the command on a hostile file and checks its answer.
Ended answer(Trial& trial, const std::string& what, const Command& command, bool trains = false) {
  Limits limits = trial.options().limits;
  if (trains) limits.training_seconds = 1;
  Ended ended = trial.run(command, limits);
  trial.count(what, outcome_of(ended));
  check_answer(ended);
  return ended;
}

int64_t lines_in(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n') + (text.empty() || text.back() == '\n' ? 0 : 1);
}

/// What stands where a file is expected and is none. Returns its path; `what` is for people.
std::string no_file(Trial& trial, std::string& what) {
  Dice& dice = trial.dice();
  const fs::path path = trial.folder() / "hostile";
  what = dice.pick({std::string("device"), std::string("folder"), std::string("pipe"), std::string("nothing"),
                    std::string("dangling link"), std::string("links in a circle"), std::string("holes")});
  if (what == "device") {
    return dice.pick({std::string("/dev/zero"), std::string("/dev/null"), std::string("/dev/urandom"),
                      std::string("/proc/self/mem")});
  }
  if (what == "folder") fs::create_directories(path);
  if (what == "pipe" && mkfifo(path.c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed");
  if (what == "dangling link") fs::create_symlink(trial.folder() / "nowhere", path);
  if (what == "links in a circle") fs::create_symlink(path, path);
  if (what == "holes") {
    write_bytes(path, "");
    fs::resize_file(path, uintmax_t{300} << 20);
  }
  return path.string();
}

void check_listing(const Ended& ended, bool json) {
  if (ended.status != 0) return;
  if (json && !nlohmann::json::accept(ended.out)) throw Failure("--json prints what is not JSON");
  const auto raw = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f; };
  if (std::any_of(ended.out.begin(), ended.out.end(), raw)) throw Failure("control characters reach the terminal");
}

void look_into(Trial& trial, const std::string& what, const fs::path& bad, const fs::path& good) {
  Dice& dice = trial.dice();
  const std::string command = dice.pick({std::string("ls"), std::string("verify"), std::string("diff")});
  const bool json = dice.chance(0.4);
  Words words = {command, bad.string()};
  if (command == "diff") words.push_back(good.string());
  if (json) words.emplace_back("--json");
  const Command looks = {.program = trial.program("attune-checkpoint"), .arguments = std::move(words)};
  if (command != "diff") {
    check_listing(answer(trial, what, looks), json);
    return;
  }
  // Files that differ are no error.
  Ended ended = trial.run(looks, trial.options().limits);
  trial.count(what, outcome_of(ended));
  const bool differ = ended.status == 1 && ended.err.empty() && !ended.out.empty() && ended.limit.empty();
  if (!differ) check_answer(ended);
}

/// A checkpoint to be used, listed or resumed.
void hostile_checkpoint(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  Dice& dice = trial.dice();
  const bool resumes = dice.chance(0.35);
  const fs::path good = undisturbed.folder / (resumes ? "last.h5" : "best.h5");
  const fs::path run = trial.folder() / "run";
  fs::create_directories(run);
  const fs::path bad = run / "last.h5";
  const HostileCheckpoint made = make_hostile_checkpoint(trial, good, bad);
  const std::string what = (resumes ? "resume: " : "checkpoint: ") + made.what;
  if (!resumes && dice.chance(0.2)) {
    look_into(trial, what, bad, good);
    return;
  }
  Command command = {.program = trial.program(program.executable()), .arguments = {}};
  if (!resumes) {
    const TrainedProgram::Use use = dice.pick(program.uses(bad.string()));
    command.arguments = use.arguments;
    command.input = use.input;
    const Ended ended = answer(trial, what, command);
    if (made.not_finite && ended.status == 0 && ended.err.find("warning: ") == std::string::npos) {
      throw Failure("weights that are not finite are used without a word: " + ended.out.substr(0, 200));
    }
    return;
  }
  for (const char* name : {"config.json", "log.jsonl", "best.h5"}) fs::copy(undisturbed.folder / name, run / name);
  const std::string before = bytes_of(bad);
  command.arguments = {"train", "--resume", "--out", run.string()};
  const Ended ended = answer(trial, what, command, true);
  const bool refused = ended.status != 0 && ended.err.find("resumed at step") == std::string::npos;
  if (refused && (bytes_of(bad) != before || bytes_of(run / "best.h5") != bytes_of(undisturbed.folder / "best.h5"))) {
    throw Failure("a run that cannot be resumed was changed: " + ended.err);
  }
}

/// --config, a folder's config.json, or --set.
void hostile_configuration(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  Dice& dice = trial.dice();
  const fs::path run = trial.folder() / "run";
  const std::string json = hostile_json(dice, bytes_of(undisturbed.folder / "config.json"));
  Command command = {.program = trial.program(program.executable()), .arguments = {}};
  if (dice.chance(0.5)) {
    const fs::path file = trial.folder() / "config.json";
    write_bytes(file, json);
    command.arguments = {"train", "--out", run.string(), "--config", file.string()};
  } else if (dice.chance(0.5)) {
    write_bytes(run / "config.json", json);
    if (dice.chance(0.5)) fs::copy(undisturbed.folder / "last.h5", run / "last.h5");
    command.arguments = {"train", "--resume", "--out", run.string()};
  } else {
    static const std::vector<std::string> kOptions = {"--budget",    "--epochs", "--threads", "--seed",
                                                      "--precision", "--preset", "--device"};
    static const std::vector<std::string> kSettings = {"model.dim",       "model.heads",   "text.max_length",
                                                       "training.epochs", "run.threads",   "training.learning_rate",
                                                       "run.steps",       "model.dropout", "training.save_every"};
    const std::string value = dice.chance(0.2) ? "1e300h" : hostile_value(dice);
    command.arguments = undisturbed.into(run);
    if (dice.chance(0.5)) {
      command.arguments.insert(command.arguments.end(),
                               {"--set", dice.pick(kSettings) + "=" + value.substr(0, 100000)});
    } else {
      command.arguments.insert(command.arguments.end(), {dice.pick(kOptions), value.substr(0, 100000)});
    }
  }
  Limits limits = trial.options().limits;
  limits.training_seconds = 1;
  const Ended ended = trial.run(command, limits);
  // What is large because somebody has asked for it is no fault.
  const bool large = ended.limit.ends_with("memory") || ended.limit.ends_with("processor time");
  trial.count("configuration", large ? "large" : outcome_of(ended));
  if (!large) check_answer(ended);
}

/// Files and links that lie where a run is to begin.
void hostile_folder(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  Dice& dice = trial.dice();
  const fs::path run = trial.folder() / "run";
  const fs::path precious = trial.folder() / "precious";
  write_bytes(precious, "not to be changed");
  fs::create_directories(run);
  Command command = {.program = trial.program(program.executable()), .arguments = undisturbed.into(run, {"--resume"})};
  if (dice.chance(0.4)) {
    for (const char* name : {"last.h5", "best.h5", "config.json"}) fs::copy(undisturbed.folder / name, run / name);
  }
  std::string what = "planted link";
  const double kind = dice.unit();
  if (kind < 0.5) {
    fs::create_symlink(precious,
                       run / dice.pick({".probe", "last.h5.tmp", "best.h5.tmp", "config.json.tmp", "log.jsonl.tmp"}));
  } else if (kind < 0.7) {
    what = "file 'checkpoint' in the working folder";
    command.directory = trial.folder();
    write_bytes(trial.folder() / "checkpoint", "not to be changed");
    fs::resize_file(trial.folder() / "checkpoint", uintmax_t{600} << 20);
  } else if (kind < 0.85) {
    what = "log of something else";
    write_bytes(run / "log.jsonl", hostile_lines(dice, 3));
  } else {
    what = "folder in the way";
    fs::create_directories(run / dice.pick({".probe", "log.jsonl", "last.h5.tmp", "best.h5.tmp"}));
  }
  const Ended ended = answer(trial, what, command);
  if (bytes_of(precious) != "not to be changed") throw Failure("a file outside the run's folder was changed");
  if (ended.status == 0) check_equal(run, undisturbed.folder);
}

/// The text of standard input.
void hostile_input(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  Dice& dice = trial.dice();
  const std::string best = (undisturbed.folder / "best.h5").string();
  Command command = {.program = trial.program(program.executable()), .arguments = {}};
  if (program.name() == "sentiment") {
    command.arguments = {"predict", "--checkpoint", best, "--threads", "1", "--json"};
  } else {
    command.arguments = {"translate", "--checkpoint", best, "--threads", "1", "--beam", "1"};
  }
  std::string what = "lines";
  if (dice.chance(0.15)) {
    command.input_path = no_file(trial, what);
    std::error_code missing;
    const fs::file_status status = fs::status(*command.input_path, missing);
    if (!fs::exists(status) || fs::is_fifo(status)) return;  // never gets to the program
  } else {
    command.input = hostile_lines(dice, dice.between(1, 12));
  }
  const Ended ended = answer(trial, "standard input: " + what, command);
  if (what == "folder" && ended.status == 0) throw Failure("a read error is taken for the end of the input");
  if (what == "lines" && ended.status == 0 && lines_in(ended.out) != lines_in(command.input)) {
    throw Failure(fmt::format("{} lines of output for {} of input", lines_in(ended.out), lines_in(command.input)));
  }
}

std::string maybe_zipped(Dice& dice, const std::string& bytes) {
  if (dice.chance(0.75)) return bytes;
  return dice.chance(0.5) ? gzipped(bytes) : damaged(dice, gzipped(bytes));
}

std::string labelled(Dice& dice, const std::string& lines) {
  std::istringstream stream(lines);
  std::string out = "1\tgood\n0\tbad\n";
  for (std::string line; std::getline(stream, line);) {
    out += dice.chance(0.95) ? std::to_string(dice.below(2)) : dice.pick({"2", "-1", "", "1e20", "0\t1", "\xff"});
    out += '\t' + line + '\n';
  }
  return out;
}

/// Captions in one of the three formats.
std::string captions(Dice& dice) {
  if (dice.chance(0.4)) {
    const std::string coco =
        R"({"images": [{"id": 1, "file_name": "0.jpg"}, {"id": 2, "file_name": "1.jpg"}], )"
        R"("annotations": [{"image_id": 1, "caption": "a picture"}, {"image_id": 2, "caption": "colours"}]})";
    return hostile_json(dice, coco);
  }
  std::istringstream stream(hostile_lines(dice, 6));
  std::string out = "0.jpg\ta picture\n1.jpg\tcolours\n";
  for (std::string line; std::getline(stream, line);) {
    out += dice.pick({"2.jpg", "3.jpg", "4.jpg#0", "../../x", "", "/etc/passwd", "5.jpg"}) + ('\t' + line) + '\n';
  }
  return out;
}

/// A copy of the program's data with one hostile file in it; returns `train`'s or `eval`'s command line.
Words hostile_data(Trial& trial, TrainedProgram& program, const Undisturbed& undisturbed, std::string& what) {
  Dice& dice = trial.dice();
  const fs::path data = trial.folder() / program.data().filename();
  fs::copy(program.data(), data, fs::copy_options::recursive);
  fs::path file = data;
  std::string bytes;
  const std::string lines = hostile_lines(dice, dice.between(1, 12));
  if (program.name() == "sentiment") {
    bytes = maybe_zipped(dice, labelled(dice, lines));
  } else if (program.name() == "translation") {
    file /= dice.pick({"train.en", "train.es", "val.en", "val.es"});
    bytes = maybe_zipped(dice, dice.chance(0.5) ? bytes_of(file) + lines : lines);
  } else {
    file /= dice.pick({"images/0.jpg", "captions.tsv", "train.txt", "dev.txt"});
    const bool is_picture = file.extension() == ".jpg";
    bytes = is_picture ? hostile_picture(dice, what)
                       : maybe_zipped(dice, file.extension() == ".tsv" ? captions(dice) : lines);
  }
  what = "data: " + file.filename().string();
  if (dice.chance(0.1)) {
    std::string kind;
    fs::remove(file);
    const std::string instead = no_file(trial, kind);
    if (kind != "nothing") fs::create_symlink(instead, file);
    what += ": " + kind;
  } else {
    write_bytes(file, bytes);
  }
  const std::string best = (undisturbed.folder / "best.h5").string();
  if (dice.chance(0.4)) {
    Words words = {"eval", "--checkpoint", best, "--threads", "1"};
    if (program.name() == "translation") {
      words.insert(words.end(), {"--source-file", (data / "val.en").string(), "--reference-file",
                                 (data / "val.es").string(), "--beam", "1"});
    } else {
      words.insert(words.end(), {"--data", data.string()});
    }
    return words;
  }
  Words words = undisturbed.into(trial.folder() / "run");
  for (std::string& word : words) {
    if (word.starts_with("--data=")) word = "--data=" + data.string();
  }
  return words;
}

void give_hostile_data(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  std::string what;
  const Words words = hostile_data(trial, program, undisturbed, what);
  answer(trial, what, {.program = trial.program(program.executable()), .arguments = words}, true);
}

void give_hostile_picture(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  std::string what;
  std::string path = (trial.folder() / "picture").string();
  if (trial.dice().chance(0.1)) {
    path = no_file(trial, what);
  } else {
    write_bytes(path, hostile_picture(trial.dice(), what));
  }
  answer(trial, "picture: " + what,
         {.program = trial.program(program.executable()),
          .arguments = {"caption", "--checkpoint", (undisturbed.folder / "best.h5").string(), "--threads", "1",
                        "--beam", "1", path}});
}

}  // namespace

void give_hostile_file_to_checkpoint_program(Trial& trial) {
  Dice& dice = trial.dice();
  const fs::path good = trial.folder() / "good.h5";
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", {{"layer.weight", Tensor::full({4, 5}, 0.5)}, {"layer.bias", Tensor::zeros({5})}});
  checkpoint.put_text("config", R"({"program":"attune-sentiment","model":{"dim":5,"heads":1}})");
  checkpoint.put_text("state/progress", R"({"step":5})");
  checkpoint.put_list("vocabulary", {"a", "b"});
  save_checkpoint(checkpoint, good);
  const fs::path bad = trial.folder() / "bad.h5";
  // Making a file takes less than looking into it.
  for (int i = 0; i < 8; ++i) {
    if (dice.chance(0.03)) {
      std::string what;
      fs::remove_all(trial.folder() / "hostile");
      const std::string path = no_file(trial, what);
      look_into(trial, what, path, good);
      continue;
    }
    const HostileCheckpoint made = make_hostile_checkpoint(trial, good, bad);
    look_into(trial, made.what, bad, good);
  }
}

void give_hostile_file(Trial& trial, TrainedProgram& program) {
  const double kind = trial.dice().unit();
  if (kind < 0.35) {
    hostile_checkpoint(trial, program);
  } else if (kind < 0.5) {
    hostile_configuration(trial, program);
  } else if (kind < 0.58) {
    hostile_folder(trial, program);
  } else if (kind < 0.78) {
    give_hostile_data(trial, program);
  } else if (program.name() == "captioning") {
    give_hostile_picture(trial, program);
  } else {
    hostile_input(trial, program);
  }
}

}  // namespace attune::torture
