#include "framework/checkpoint.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "framework/error.h"
#include "framework/version.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Message;
using testing::read_bytes;
using testing::TemporaryDirectory;

Tensor counting(const Shape& shape, double first = 0) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(first + static_cast<double>(i));
  return Tensor::from(values, shape);
}

/// One of everything.
Checkpoint sample() {
  Checkpoint checkpoint;
  const Tensor table = counting({5, 3});
  checkpoint.put_tensors("model", {{"embedding.weight", table},
                                   {"encoder.block10.norm.bias", counting({3}, 7)},
                                   {"encoder.block2.norm.bias", counting({3}, 8)},
                                   {"head.weight", table}});
  checkpoint.put("kinds/float64", Tensor::from<double>({1.5, -0.0, std::numeric_limits<double>::infinity()}, {3}));
  checkpoint.put("kinds/bfloat16", Tensor::from<bfloat16>({bfloat16(1.5f), bfloat16(-2)}, {2, 1}));
  checkpoint.put("kinds/int64", Tensor::from<int64_t>({std::numeric_limits<int64_t>::min(), 7}, {2}));
  const bool flags[] = {true, false, true};
  checkpoint.put("kinds/bool", Tensor::from(std::span<const bool>(flags), {3}));
  checkpoint.put("kinds/scalar", Tensor::full({}, 42));
  checkpoint.put("kinds/empty", Tensor::empty({0, 4}));
  checkpoint.put("kinds/empty_inside", Tensor::empty({3, 0, 2}, DType::kInt64));
  checkpoint.put("kinds/transposed", counting({2, 3}).transpose(0, 1));
  checkpoint.put("kinds/expanded", counting({3}).expand({2, 3}));
  checkpoint.put("kinds/rank8", counting({1, 2, 1, 2, 1, 2, 1, 2}));
  checkpoint.put_text("config", R"({"dim":128,"name":"größer"})");
  checkpoint.put_text("notes", "");
  checkpoint.put_list("vocabulary", {"<pad>", "", "naïve", "日本", "🎈"});
  checkpoint.put_list("history", {});
  checkpoint.put_random("state/random/dropout", {~uint64_t{0}, uint64_t{1} << 63});
  return checkpoint;
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

// Whole files are compared inside parentheses: Catch2 cannot print them.

TEST_CASE("a checkpoint gives back what was put into it", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  sample().save(path);
  const Checkpoint loaded = Checkpoint::load(path);

  CHECK(loaded.library_version() == kVersion);
  CHECK(loaded.text("config") == R"({"dim":128,"name":"größer"})");
  CHECK(loaded.text("notes").empty());
  CHECK(loaded.list("vocabulary") == std::vector<std::string>{"<pad>", "", "naïve", "日本", "🎈"});
  CHECK(loaded.list("history").empty());
  CHECK(loaded.random("state/random/dropout") == RandomState{~uint64_t{0}, uint64_t{1} << 63});

  const Checkpoint original = sample();
  CHECK(loaded.sha256() == original.sha256());
  REQUIRE(loaded.entries().size() == original.entries().size());
  for (const auto& [entry_path, value] : original.entries()) {
    INFO(entry_path);
    const auto* expected = std::get_if<Tensor>(&value);
    if (expected == nullptr) continue;
    const Tensor found = loaded.tensor(entry_path);
    REQUIRE(found.dtype() == expected->dtype());
    REQUIRE(found.shape() == expected->shape());
    CHECK(found.to(DType::kFloat64).to_vector<double>() == expected->to(DType::kFloat64).to_vector<double>());
  }
  CHECK(std::signbit(loaded.tensor("kinds/float64").to_vector<double>()[1]));
  CHECK(loaded.tensor("kinds/int64").to_vector<int64_t>()[0] == std::numeric_limits<int64_t>::min());
}

TEST_CASE("a checkpoint keeps integers of every width", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "integers.h5";
  Checkpoint checkpoint;
  checkpoint.put("pixels", Tensor::from(std::vector<int>{0, 128, 255}, {3}, DType::kUInt8));
  checkpoint.put("offsets", Tensor::from(std::vector<int>{-(1 << 30), 7}, {2, 1}, DType::kInt32));
  checkpoint.save(path);
  const Checkpoint loaded = Checkpoint::load(path);
  CHECK(loaded.tensor("pixels").dtype() == DType::kUInt8);
  CHECK(loaded.tensor("pixels").to_vector<int>() == std::vector<int>{0, 128, 255});
  CHECK(loaded.tensor("offsets").dtype() == DType::kInt32);
  CHECK(loaded.tensor("offsets").shape() == Shape{2, 1});
  CHECK(loaded.tensor("offsets").to_vector<int>() == std::vector<int>{-(1 << 30), 7});
}

TEST_CASE("tensors come back under dotted names in the order in which they were put", "[checkpoint]") {
  const TemporaryDirectory directory;
  sample().save(directory / "last.h5");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : Checkpoint::load(directory / "last.h5").tensors("model")) names.push_back(name);
  CHECK(names == std::vector<std::string>{"embedding.weight", "encoder.block10.norm.bias", "encoder.block2.norm.bias",
                                          "head.weight"});
  CHECK(sample().tensors("mod").empty());
  CHECK(sample().tensors("nothing").empty());
}

TEST_CASE("tensors that share their memory are stored once and stay one", "[checkpoint]") {
  const TemporaryDirectory directory;
  const Tensor large = counting({512, 1024});  // two chunks
  Checkpoint once;
  once.put_tensors("model", {{"a", large}});
  once.save(directory / "once.h5");
  Checkpoint twice;
  twice.put_tensors("model", {{"a", large}, {"b", large}, {"c", large.view({1024, 512})}});
  twice.save(directory / "twice.h5");
  const auto once_bytes = read_bytes(directory / "once.h5").size();
  CHECK(once_bytes < 2.1 * (1 << 20));
  // b is a link, c another shape of the same memory and hence a copy.
  CHECK(read_bytes(directory / "twice.h5").size() < once_bytes + 2.1 * (1 << 20));

  const Checkpoint loaded = Checkpoint::load(directory / "twice.h5");
  CHECK(same_memory(loaded.tensor("model/a"), loaded.tensor("model/b")));
  CHECK(!same_memory(loaded.tensor("model/a"), loaded.tensor("model/c")));
  CHECK(loaded.tensor("model/c").to_vector<float>() == large.to_vector<float>());
  loaded.save(directory / "again.h5");
  CHECK((read_bytes(directory / "again.h5") == read_bytes(directory / "twice.h5")));
}

TEST_CASE("the bytes of a checkpoint depend on its content alone", "[checkpoint]") {
  const TemporaryDirectory directory;
  sample().save(directory / "a.h5");
  usleep(1100000);  // times in a file would be those of another second
  sample().save(directory / "b.h5");
  CHECK((read_bytes(directory / "a.h5") == read_bytes(directory / "b.h5")));
  Checkpoint::load(directory / "a.h5").save(directory / "c.h5");
  CHECK((read_bytes(directory / "c.h5") == read_bytes(directory / "a.h5")));

  Checkpoint other = sample();
  std::get<Tensor>(const_cast<Checkpoint::Value&>(other.entries()[1].value)).fill_(1);
  CHECK(other.sha256() != sample().sha256());
}

TEST_CASE("chunks cover every shape", "[checkpoint]") {
  const TemporaryDirectory directory;
  Checkpoint checkpoint;
  checkpoint.put("rows", counting({300, 1000}));
  checkpoint.put("wide", counting({3, 400000}));
  checkpoint.put("long", counting({700001}));
  checkpoint.save(directory / "x.h5");
  const auto bytes = read_bytes(directory / "x.h5").size();
  CHECK(bytes < 1.02 * 4 * (300 * 1000 + 3 * 400000 + 700001) + 20000);
  const Checkpoint loaded = Checkpoint::load(directory / "x.h5");
  for (const char* name : {"rows", "wide", "long"}) {
    CHECK(loaded.tensor(name).to_vector<float>() == checkpoint.tensor(name).to_vector<float>());
  }
}

TEST_CASE("a list with one very long text costs no more than its bytes", "[checkpoint]") {
  const TemporaryDirectory directory;
  std::vector<std::string> words(20000, "ä");
  words[7] = std::string(3000000, 'x');
  Checkpoint checkpoint;
  checkpoint.put_list("vocabulary", words);
  checkpoint.put_text("config", words[7]);
  checkpoint.save(directory / "x.h5");
  CHECK(read_bytes(directory / "x.h5").size() < 8000000);
  const Checkpoint loaded = Checkpoint::load(directory / "x.h5");
  CHECK(loaded.list("vocabulary") == words);
  CHECK(loaded.text("config") == words[7]);
  CHECK(loaded.sha256() == checkpoint.sha256());
}

TEST_CASE("a checkpoint refuses what it could not give back", "[checkpoint]") {
  Checkpoint checkpoint;
  checkpoint.put_text("a/b", "x");
  CHECK_THROWS_AS(checkpoint.put_text("a/b", "y"), ValueError);
  CHECK_THROWS_MATCHES(checkpoint.put_text("a", "y"), ValueError,
                       Message("Checkpoint: 'a' cannot be put beside 'a/b'"));
  CHECK_THROWS_AS(checkpoint.put_text("a/b/c", "y"), ValueError);
  checkpoint.put_text("a-b", "beside 'a' in the order of bytes, yet no relative");
  for (const char* path : {"", "/a", "a/", "b//c", ".", "b/../c", "b\xff"}) {
    CHECK_THROWS_AS(checkpoint.put_text(path, "y"), ValueError);
  }
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xc3"), std::string("\xc0\xaf"),
                                  std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"), std::string("\x80")}) {
    CHECK_THROWS_AS(checkpoint.put_text("c", text), ValueError);
    CHECK_THROWS_AS(checkpoint.put_list("c", {"good", text}), ValueError);
  }
  CHECK_THROWS_AS(checkpoint.put("c", Tensor()), ValueError);
  CHECK_THROWS_AS(checkpoint.put_tensors("c", {{"d/e", counting({1})}}), ValueError);
}

TEST_CASE("asking a checkpoint for what it does not hold names the file", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  sample().save(path);
  const Checkpoint loaded = Checkpoint::load(path);
  CHECK(loaded.contains("config"));
  CHECK(!loaded.contains("kinds"));
  CHECK_THROWS_MATCHES(loaded.text("konfig"), FormatError, Message(path + ": holds no 'konfig'"));
  CHECK_THROWS_MATCHES(loaded.tensor("config"), FormatError, Message(path + ": 'config' is a text, expected a tensor"));
  CHECK_THROWS_MATCHES(loaded.list("config"), FormatError, Message(path + ": 'config' is a text, expected a list"));
  CHECK_THROWS_MATCHES(loaded.random("kinds/bool"), FormatError,
                       Message(path + ": 'kinds/bool' is bool [3] on cpu, expected a random stream: int64 [2]"));
}

TEST_CASE("h5py reads a checkpoint as it is documented", "[checkpoint][python]") {
  // The system's python3 has the distribution's h5py, also where another one comes first in PATH.
  const char* python = nullptr;
  for (const char* candidate : {"python3", "/usr/bin/python3"}) {
    if (std::system((std::string(candidate) + " -c 'import h5py' 2>/dev/null").c_str()) == 0) python = candidate;
  }
  if (python == nullptr) SKIP("python3 cannot import h5py");
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  sample().save(path);
  const std::string script = directory.write("read.py", R"(
import hashlib, json, sys, h5py, numpy as np
f = h5py.File(sys.argv[1], "r")
assert json.loads(f["config"][0]) == {"dim": 128, "name": "größer"}
assert [t.decode() for t in f["vocabulary"]] == ["<pad>", "", "naïve", "日本", "🎈"]
w = f["model/embedding/weight"]
assert w.attrs["dtype"].decode() == "float32" and tuple(w.attrs["shape"]) == (5, 3)
assert (w[...] == np.arange(15).reshape(5, 3)).all()
assert f["model/head/weight"] == w, "a hard link"
assert (f["kinds/transposed"][...] == np.arange(6).reshape(2, 3).T).all()
assert list(f["kinds/bfloat16"].attrs["shape"]) == [2, 1] and f["kinds/bfloat16"].dtype == np.uint16
assert f["kinds/bfloat16"].attrs["dtype"].decode() == "bfloat16"
assert tuple(f["kinds/scalar"].attrs["shape"]) == () and f["kinds/scalar"][0] == 42
assert f["kinds/empty"].shape == (0, 4)
assert f.attrs["format_version"] == 2 and f.attrs["library_version"].decode() == sys.argv[2]

names = []
def visit(group, prefix):
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            visit(item, prefix + name + "/")
        else:
            assert item.fletcher32 and item.chunks, name
            names.append(prefix + name)
visit(f, "")
digest = hashlib.sha256()
for name in sorted(names, key=lambda n: n.encode()):
    d = f[name]
    shape = ",".join(str(n) for n in d.attrs["shape"])
    dtype = d.attrs["dtype"].decode()
    digest.update(f"{name}\n{dtype}\n{shape}\n".encode())
    if dtype == "text":
        for text in d: digest.update(text + b"\0")
    else:
        digest.update(d[...].tobytes())
assert digest.hexdigest() == f.attrs["sha256"].decode()
assert hashlib.sha256(open(sys.argv[1], "rb").read()[512:]).hexdigest().encode() in open(sys.argv[1], "rb").read(512)
)");
  CHECK(std::system((std::string(python) + " " + quoted(script) + " " + quoted(path) + " " + kVersion).c_str()) == 0);
}

TEST_CASE("h5dump reads a checkpoint", "[checkpoint]") {
  if (std::system("h5dump --version >/dev/null 2>&1") != 0) SKIP("h5dump is not installed");
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  sample().save(path);
  REQUIRE(std::system(("h5dump " + quoted(path) + " > " + quoted(directory / "dump") + " 2>&1").c_str()) == 0);
  const std::string dump = read_bytes(directory / "dump");
  CHECK_THAT(dump, ContainsSubstring("DATASET \"weight\""));
  CHECK_THAT(dump, ContainsSubstring("HARDLINK \"/model/embedding/weight\""));
}

}  // namespace
}  // namespace attune
