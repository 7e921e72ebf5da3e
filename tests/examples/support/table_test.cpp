#include "examples/support/table.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <stdexcept>

namespace attune::examples {
namespace {

TEST_CASE("a table is aligned by what the terminal shows", "[support]") {
  Table table({{"word"}, {"count", Table::Align::kRight}, {"note"}});
  table.add({"naïve", "1", "a"});
  table.add({"日本", "23,456", ""});
  table.add({"cafe\u0301", "7", "b"});
  CHECK(table.to_string() ==
        "word    count  note\n"
        "naïve       1  a\n"
        "日本   23,456\n"
        "cafe\u0301        7  b\n");
  CHECK_THROWS_AS(table.add({"too few"}), std::logic_error);
}

TEST_CASE("the width of broken UTF-8 is bounded by its bytes", "[support]") {
  CHECK(display_width("\xff\xff") <= 2);
  CHECK(display_width("a\xe6") <= 2);
  CHECK(display_width("") == 0);
}

TEST_CASE("numbers are written for people", "[support]") {
  CHECK(with_commas(0) == "0");
  CHECK(with_commas(999) == "999");
  CHECK(with_commas(-1000) == "-1,000");
  CHECK(with_commas(-100) == "-100");
  CHECK(with_commas(1234567) == "1,234,567");
  CHECK(with_commas(INT64_MIN) == "-9,223,372,036,854,775,808");

  CHECK(readable_bytes(0) == "0 B");
  CHECK(readable_bytes(1023) == "1023 B");
  CHECK(readable_bytes(1536) == "1.5 KiB");
  CHECK(readable_bytes(1048575) == "1.0 MiB");
  CHECK(readable_bytes(int64_t{5} << 30) == "5.0 GiB");

  CHECK(readable_count(0.4) == "0");
  CHECK(readable_count(999) == "999");
  CHECK(readable_count(1234) == "1.2k");
  CHECK(readable_count(9999) == "10k");
  CHECK(readable_count(412345) == "412k");
  CHECK(readable_count(999999) == "1.0M");
  CHECK(readable_count(12e6) == "12M");

  CHECK(readable_time(0) == "0:00");
  CHECK(readable_time(59.6) == "1:00");
  CHECK(readable_time(75) == "1:15");
  CHECK(readable_time(3700) == "1:01:40");
  CHECK(readable_time(-1) == "0:00");
}

}  // namespace
}  // namespace attune::examples
