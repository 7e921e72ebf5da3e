// The program attune-golden, on files written here and on those of $ATTUNE_GOLDEN.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/hdf5_handle.h"
#include "tests/support/devices.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

using namespace attune;
using namespace attune::testing;

namespace {

struct Array {
  std::vector<hsize_t> shape;
  std::vector<double> values;
};

struct Written {
  std::string layer = "Linear";
  std::string config = R"({"in_features": 2, "out_features": 1})";
  // y = x W^T + b for x = [3, 5], W = [2, -1], b = [4]; upstream gradient 10.
  std::map<std::string, Array> arrays = {{"inputs/input", {{1, 2}, {3, 5}}},
                                         {"params/weight", {{1, 2}, {2, -1}}},
                                         {"params/bias", {{1}, {4}}},
                                         {"outputs/output", {{1, 1}, {5}}},
                                         {"grad_outputs/output", {{1, 1}, {10}}},
                                         {"grad_inputs/input", {{1, 2}, {20, -10}}},
                                         {"grad_params/weight", {{1, 2}, {30, 50}}},
                                         {"grad_params/bias", {{1}, {10}}}};
  std::string format = "attune-golden-1";
};

void put_text(hid_t object, const char* name, const std::string& text) {
  const auto type = hdf5::text_type("test", H5T_VARIABLE);
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate, H5S_SCALAR);
  const auto attribute =
      ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  const char* data = text.c_str();
  ATTUNE_HDF5("test", H5Awrite, attribute, type, &data);
}

/// One file with these cases, named case0, case1, ...
std::string write_file(const std::string& path, const std::vector<Written>& cases) {
  const auto file = ATTUNE_HDF5_OPEN(File, "test", H5Fcreate, path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put_text(file, "format", cases.empty() ? "attune-golden-1" : cases.front().format);
  const auto links = ATTUNE_HDF5_OPEN(Properties, "test", H5Pcreate, H5P_LINK_CREATE);
  ATTUNE_HDF5("test", H5Pset_create_intermediate_group, links, 1);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string name = "case" + std::to_string(i);
    const auto group =
        ATTUNE_HDF5_OPEN(Group, "test", H5Gcreate2, file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (!cases[i].layer.empty()) put_text(group, "layer", cases[i].layer);
    put_text(group, "config", cases[i].config);
    for (const auto& [key, array] : cases[i].arrays) {
      const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, static_cast<int>(array.shape.size()),
                                          array.shape.data(), nullptr);
      const auto set = ATTUNE_HDF5_OPEN(Dataset, "test", H5Dcreate2, group, key.c_str(), H5T_NATIVE_DOUBLE, space,
                                        links, H5P_DEFAULT, H5P_DEFAULT);
      ATTUNE_HDF5("test", H5Dwrite, set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data());
    }
  }
  return path;
}

int64_t lines_beginning(const std::string& text, const std::string& word) {
  int64_t count = text.starts_with(word);
  for (size_t at = text.find("\n" + word); at != std::string::npos; at = text.find("\n" + word, at + 1)) ++count;
  return count;
}

Finished golden(const std::vector<std::string>& arguments) { return run("attune-golden", arguments); }

/// The program's answer to one case.
Finished golden_of(const Written& written) {
  const TemporaryDirectory folder;
  return golden({write_file(folder / "case.h5", {written})});
}

}  // namespace

TEST_CASE("attune-golden agrees with the files of ATTUNE_GOLDEN", "[golden]") {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("."))) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path().string());
  }
  REQUIRE_FALSE(files.empty());
  const Finished done = golden(files);
  INFO(done.out << done.err);
  CHECK(done.status == 0);
  CHECK(lines_beginning(done.out, "OK") > 0);
  CHECK(lines_beginning(done.out, "FAIL") == 0);
}

TEST_CASE("layers agree with the files of ATTUNE_GOLDEN on a CUDA device, emulated", "[golden][device][release]") {
  const EmulatedDevice emulated;
  std::vector<std::string> arguments = {"--device", "cuda"};
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("."))) {
    if (entry.path().extension() == ".h5") arguments.push_back(entry.path().string());
  }
  const Finished done = golden(arguments);
  INFO(done.out << done.err);
  CHECK(done.status == 0);
  CHECK(lines_beginning(done.out, "OK") > 0);
}

TEST_CASE("attune-golden prints a line per case and dtype", "[golden]") {
  const Finished both = golden_of({});
  INFO(both.out << both.err);
  CHECK(both.status == 0);
  CHECK(lines_beginning(both.out, "OK    case.h5 case0 Linear float64: max error 0") == 1);
  CHECK(lines_beginning(both.out, "OK    case.h5 case0 Linear float32: ") == 1);
  CHECK(last_line(both.out) == "2 OK, 0 failed, 0 skipped, 0 unreadable files");

  const TemporaryDirectory folder;
  const std::string file = write_file(folder / "two.h5", {Written{}, Written{}});
  CHECK(last_line(golden({file, "--dtype", "float32"}).out) == "2 OK, 0 failed, 0 skipped, 0 unreadable files");
}

TEST_CASE("attune-golden finds every value and gradient that differs", "[golden]") {
  for (const char* name : {"outputs/output", "grad_inputs/input", "grad_params/weight", "grad_params/bias"}) {
    for (const bool small : {false, true}) {
      Written written;
      double& value = written.arrays.at(name).values.back();
      value += small ? 2e-9 * value : 0.5;
      const TemporaryDirectory folder;
      const Finished done = golden({write_file(folder / "case.h5", {Written{}, written})});
      INFO(done.out << done.err);
      CHECK(done.status == 1);
      CHECK(lines_beginning(done.out, "OK    case.h5 case0") == 2);
      // Two parts in a thousand million: above float64's tolerance, below float32's.
      CHECK(lines_beginning(done.out, std::string("FAIL  case.h5 case1 Linear float64: ") + name) == 1);
      CHECK(lines_beginning(done.out, "FAIL") == (small ? 1 : 2));
    }
  }
  Written nan;
  nan.arrays.at("outputs/output").values = {std::nan("")};
  CHECK(golden_of(nan).status == 1);
  Written shape;
  shape.arrays.at("grad_params/weight").shape = {2, 1};
  CHECK(golden_of(shape).status == 1);
}

TEST_CASE("attune-golden skips what Attune does not have, and says why", "[golden]") {
  const auto reason = [](const Written& written) {
    const Finished done = golden_of(written);
    INFO(done.out << done.err);
    CHECK(done.status == 0);
    CHECK(lines_beginning(done.out, "SKIP") == 2);
    const size_t at = done.out.find("float64: ") + 9;
    return done.out.substr(at, done.out.find('\n') - at);
  };
  Written layer;
  layer.layer = "Conv7d";
  CHECK(reason(layer) == "Attune has no such layer yet");
  Written option;
  option.config = R"({"in_features": 2, "out_features": 1, "colour": "red"})";
  CHECK(reason(option) == "option colour = \"red\" is not in Attune");
  Written input;
  input.arrays["inputs/temperature"] = {{1}, {2}};
  CHECK(reason(input) == "input temperature is not in Attune");
  Written output;
  output.arrays["outputs/energy"] = {{1}, {2}};
  CHECK(reason(output) == "output energy is not in Attune");
  Written value;
  value.layer = "CrossEntropyLoss";
  value.config = R"({"reduction": "none"})";
  CHECK(reason(value) == "option reduction = none is not in Attune");
}

TEST_CASE("attune-golden fails cases that are not complete", "[golden][errors]") {
  const auto reason = [](const Written& written) {
    const Finished done = golden_of(written);
    INFO(done.out << done.err);
    CHECK(done.status == 1);
    return done.out.substr(0, done.out.find('\n'));
  };
  Written parameter;
  parameter.arrays.erase("params/bias");
  CHECK(reason(parameter).find("1 missing: bias [1]") != std::string::npos);
  Written more;
  more.arrays["params/gain"] = {{1}, {1}};
  CHECK(reason(more).find("1 unexpected: gain [1]") != std::string::npos);
  Written input;
  input.arrays.erase("inputs/input");
  CHECK(reason(input).find("the input 'input' is missing") != std::string::npos);
  Written option;
  option.config = R"({"in_features": 2})";
  CHECK(reason(option).find("the option 'out_features' is missing") != std::string::npos);
  Written type;
  type.config = R"({"in_features": "two", "out_features": 1})";
  CHECK(reason(type).find("the option 'in_features' has the value \"two\"") != std::string::npos);
}

TEST_CASE("attune-golden answers unreadable files with one line each, goes on, and exits with 1", "[golden][errors]") {
  const TemporaryDirectory folder;
  const std::string good = write_file(folder / "good.h5", {Written{}});
  const std::string bytes = read_bytes(good);
  Written foreign, config, unnamed, empty;
  foreign.format = "something-else-1";
  config.config = "{in_features: 2";
  unnamed.layer = "";
  empty.arrays.erase("outputs/output");
  const std::pair<std::string, std::string> cases[] = {
      {folder / "absent.h5", "cannot be opened: No such file or directory"},
      {folder.path().string(), "cannot be read, or is empty"},
      {folder.write("empty.h5", ""), "cannot be read, or is empty"},
      {folder.write("text.h5", "no HDF5 at all"), "H5Fopen failed"},
      {folder.write("cut.h5", bytes.substr(0, bytes.size() / 2)), "failed"},
      {write_file(folder / "foreign.h5", {foreign}), "the format is 'something-else-1', expected 'attune-golden-1'"},
      {write_file(folder / "none.h5", {}), "holds no cases"},
      {write_file(folder / "config.h5", {config}),
       "case0: the attribute 'config' is not a JSON object: {in_features: 2"},
      {write_file(folder / "unnamed.h5", {unnamed}), "case0: the attribute 'layer' is missing"},
      {write_file(folder / "no_outputs.h5", {empty}), "case0: holds no outputs"},
  };
  for (const auto& [file, says] : cases) {
    const Finished done = golden({file, good});
    INFO(file << ": " << done.out << done.err);
    CHECK(done.status == 1);
    CHECK(done.err.starts_with("error: " + file));
    CHECK(done.err.find(says) != std::string::npos);
    CHECK(std::count(done.err.begin(), done.err.end(), '\n') == 1);
    CHECK(last_line(done.out) == "2 OK, 0 failed, 0 skipped, 1 unreadable files");
  }
}

TEST_CASE("attune-golden reads no other file, and no more than a file holds", "[golden][errors]") {
  const TemporaryDirectory folder;
  const auto with = [&](const std::function<void(hid_t)>& change) {
    const std::string path = write_file(folder / "x.h5", {Written{}});
    {
      const auto file = ATTUNE_HDF5_OPEN(File, "test", H5Fopen, path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
      change(file);
    }
    const Finished done = golden({path});
    CHECK(done.status == 1);
    CHECK(std::count(done.err.begin(), done.err.end(), '\n') == 1);
    return done.err;
  };
  const auto says = [](const std::string& error, const std::string& text) {
    INFO(error);
    CHECK(error.find(text) != std::string::npos);
    CHECK(error.size() < 500);
  };
  says(with([](hid_t file) {
         ATTUNE_HDF5("test", H5Lcreate_external, "other.h5", "/", file, "case0/inputs/x", H5P_DEFAULT, H5P_DEFAULT);
       }),
       "case0/inputs/x: is a soft or external link");
  const auto set = [](hid_t file, const std::string& name, const std::vector<hsize_t>& dims, hid_t creation) {
    const auto space =
        ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, static_cast<int>(dims.size()), dims.data(), nullptr);
    ATTUNE_HDF5_OPEN(Dataset, "test", H5Dcreate2, file, name.c_str(), H5T_IEEE_F64LE, space, H5P_DEFAULT, creation,
                     H5P_DEFAULT);
  };
  says(with([&](hid_t file) {
         const auto creation = ATTUNE_HDF5_OPEN(Properties, "test", H5Pcreate, H5P_DATASET_CREATE);
         ATTUNE_HDF5("test", H5Pset_external, creation, "/etc/passwd", 0, 64);
         set(file, "case0/inputs/x", {8}, creation);
       }),
       "case0/inputs/x: its elements lie in another file");
  says(with([&](hid_t file) {
         for (int i = 0; i < 40; ++i) set(file, "case0/inputs/x" + std::to_string(i), {hsize_t{1} << 27}, H5P_DEFAULT);
       }),
       "claims more elements than its bytes can hold");
  Written deep;
  deep.config = "{\"a\":" + std::string(60000, '[') + std::string(60000, ']') + "}";
  const Finished done = golden_of(deep);
  says(done.err, "the attribute 'config' is not a JSON object: {\"a\":[[[[");
}

TEST_CASE("attune-golden survives flipped bytes", "[golden][errors]") {
  const TemporaryDirectory folder;
  const std::string bytes = read_bytes(write_file(folder / "good.h5", {Written{}}));
  for (size_t at = 0; at < bytes.size(); at += bytes.size() / 60) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const Finished done = golden({folder.write("damaged.h5", damaged), "--dtype", "float64"});
    INFO("byte " << at << ": " << done.out << done.err);
    CHECK((done.status == 0 || done.status == 1));
    CHECK(std::count(done.err.begin(), done.err.end(), '\n') <= 1);
  }
}

TEST_CASE("attune-golden exits with 2 for a wrong call", "[golden][errors]") {
  CHECK(golden({}).status == 2);
  CHECK(golden({"--dtype", "int64", "x.h5"}).status == 2);
  CHECK(golden({"--unknown"}).status == 2);
  CHECK(golden({"--help"}).status == 0);
}
