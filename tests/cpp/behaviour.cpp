// behaviour DEMO_SERVER MISBEHAVE: what leash.hpp promises, with exceptions.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <leash.hpp>
#include <limits>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>
#if __cplusplus > 201703L
#include <span>
#endif

#include "check.hpp"

using namespace std::chrono_literals;
using leash::code;
using leash::connection;
using leash::event;
using leash::kind;

static_assert(!std::is_copy_constructible_v<connection> && !std::is_copy_assignable_v<connection>);
static_assert(std::is_nothrow_move_constructible_v<connection>);
static_assert(!std::is_copy_constructible_v<event> && std::is_nothrow_move_constructible_v<event>);
static_assert(std::is_nothrow_copy_constructible_v<leash::error>);
static_assert(std::is_base_of_v<std::exception, leash::error>);

static std::string demo, misbehave;

static code code_of(void (*work)()) {
  try {
    work();
  } catch (const leash::error &e) {
    CHECK(*e.what() != '\0');
    return e.code();
  }
  return code::ok;
}

static void calls_and_answers() {
  connection c = connection::open({demo});
  CHECK(c && c.pid() && *c.pid() > 0);
  std::string method = "echo";
  event answer = c.call(method, std::string("{\"a\": 1.10}"), 10s);
  CHECK(answer.kind() == kind::response && answer.json() == "{\"a\": 1.10}");
  CHECK(c.call("echo", std::string_view("[1]xx", 3)).status() == code::ok);
  try {
    c.call("nope");
    CHECK(false);
  } catch (const leash::error &e) {
    CHECK(e.code() == code::rpc && e.rpc_code() == -32601);
    CHECK(e.text().find("nope") != std::string::npos && !e.data());
  }
  auto wrong = c.try_call("echo", "{");
  CHECK(!wrong && wrong.error().code() == code::invalid);
  auto cut = c.try_call(std::string_view("e\0cho", 5));
  CHECK(!cut && cut.error().code() == code::invalid);
  c.close();
}

static void argv_comes_from_anything() {
  std::vector<std::string> strings{demo};
  std::vector<const char *> pointers{demo.c_str()};
  std::array<std::string_view, 1> views{demo};
  const char *argv[] = {demo.c_str(), nullptr};
  for (const leash::arguments &each :
       {leash::arguments(strings), leash::arguments(pointers), leash::arguments(views),
        leash::arguments(1, argv), leash::arguments{demo}}) {
    CHECK(connection::open(each).call("echo", "[]").status() == code::ok);
  }
#if __cplusplus > 201703L
  CHECK(connection::open(std::span<std::string>(strings)).call("echo", "[]").status() == code::ok);
#endif
}

static void submits_and_waits() {
  connection c = connection::open({demo});
  auto first = c.submit("echo", "[1]"), second = c.submit("echo", "[2]", 5s, 7);
  event two = c.wait(second, 10s).value(), one = c.wait(first).value();
  CHECK(two.json() == "[2]" && two.tag() == 7 && two.call() == second && one.json() == "[1]");
  CHECK(two.seq() > one.seq());
  auto again = c.try_wait(first, 0s);
  CHECK(!again && again.error().code() == code::state);
}

static void time_is_any_duration() {
  connection c =
      connection::open({misbehave, "never-read"}, leash::options().exit_after(0ms).kill_after(0ms));
  CHECK(c.poll(1s)->kind() == kind::open);
  CHECK(!c.poll(1us) && !c.poll(std::chrono::duration<double>(0.001)) && !c.poll(-1s));
  auto late = c.try_call("x", {}, std::chrono::duration<float, std::milli>(1.5f));
  CHECK(!late && late.error().code() == code::timeout);
  auto zero = c.try_submit("x", {}, 0s);
  CHECK(!zero && zero.error().code() == code::invalid);
  auto id = c.try_submit("x", {}, std::chrono::hours::max());
  CHECK(id.has_value());
  c.cancel(*id);
  CHECK(c.wait(*id)->status() == code::cancelled);
  CHECK(c.try_cancel(*id).error().code() == code::state);
}

static void a_range_gives_every_event() {
  connection c =
      connection::open({misbehave, "print:noise", "stderr:words", "notify:n:{\"x\":1}", "exit:3"});
  std::string seen;
  std::int64_t exit_code = -1;
  for (event &e : c.events()) {
    if (e.kind() == kind::notify) seen += std::string(e.method()) + std::string(e.json());
    if (e.kind() == kind::noise) seen += e.text();
    if (e.kind() == kind::closed) {
      exit_code = e.exit_code().value();
      CHECK(!e.exit_signal() && e.stage() == leash::stage::exited && e.killed() == 0 &&
            e.left() == 0);
      CHECK(e.failure().code() == code::closed);
    }
  }
  CHECK(seen == "noisen{\"x\":1}" && exit_code == 3);
  CHECK(c.events().begin() == c.events().end());
  auto over = c.try_poll(0s);
  CHECK(!over && over.error().code() == code::closed);
}

static void a_range_ends_with_the_time() {
  connection c = connection::open({demo});
  int events = 0;
  for (event &e : c.events(10ms)) events += e.kind() == kind::open;
  CHECK(events == 1);
}

static void answers_the_peer() {
  connection c = connection::open({misbehave, "ask:7:a", "ask:\"x\":b", "ask:null:c", "exit:0"});
  std::string told;
  for (event &e : c.events()) {
    if (e.kind() == kind::request && e.method() == "a") {
      CHECK(e.peer_id() == "7");
      e.reply("{\"yes\":true}");
      CHECK(!e.try_reply("1") && e.try_reply("1").error().code() == code::state);
    } else if (e.kind() == kind::request && e.peer_id() == "\"x\"") {
      e.reply_error(-5, "no", "[1]");
    } else if (e.kind() == kind::notify && e.method() == "reply") {
      told += e.json();
    }
  }
  CHECK(told.find("{\"yes\":true}") != std::string::npos);
  CHECK(told.find("-5") != std::string::npos && told.find("[1]") != std::string::npos);
  // The third was dropped.
  CHECK(told.find("-32603") != std::string::npos);
}

static void options_are_fluent_and_told_late() {
  leash::options fine;
  fine.env("A", "b").env("C", "d").env_remove("HOME").cwd("/");
  connection c = connection::open({"sh", "-c", "echo \"$A$C${HOME-none}$PWD\""}, fine);
  bool seen = false;
  for (event &e : c.events()) seen |= e.kind() == kind::noise && e.text() == "bdnone/";
  CHECK(seen);

  auto bad = leash::options().exit_after(-5ms).protocol(leash::protocol::mcp);
  CHECK(bad.failure() && bad.failure()->code() == code::invalid);
  auto refused = connection::try_open({demo}, bad);
  CHECK(!refused && refused.error().code() == code::invalid);
  CHECK(leash::options().cwd(std::string_view("a\0b", 3)).failure()->code() == code::invalid);
  CHECK(leash::options().env("A=B", "c").failure()->code() == code::invalid);
  CHECK(leash::options().env_remove("A=B").failure()->code() == code::invalid);
  CHECK(leash::options().header("A", "b\r\n").failure()->code() == code::invalid);
}

static void errors_have_an_errno() {
  try {
    connection::open({"/nonexistent/server"});
    CHECK(false);
  } catch (const leash::error &e) {
    CHECK(e.code() == code::connect && e.os_error() == 2);
    CHECK(e.text().find("\"server\": No such file") != std::string::npos);
  }
  connection at_once = connection::open({"/nonexistent/server"}, {}, 0ms);
  int ends = 0;
  for (event &e : at_once.events()) {
    CHECK(e.kind() == kind::closed && e.os_error() == 2 && e.failure().os_error() == 2);
    ends++;
  }
  CHECK(ends == 1);
  CHECK(code_of([] { connection::open({}); }) == code::invalid);
  CHECK(code_of([] { connection().call("x"); }) == code::invalid);
  CHECK(code_of([] { connection::dial(leash::options()); }) == code::invalid);
  CHECK(code_of([] { event().reply("1"); }) == code::invalid);
  event nothing;
  CHECK(nothing.json().data() == nullptr && nothing.kind() == kind::none);
}

static void environments_have_names() {
  char path[] = "/tmp/leash-environments-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  close(fd);
  const std::string id(60, 'b');
  {
    std::ofstream file(path);
    file << "default = \"a\"\n[[environments]]\nid = \"a\"\nprogram = \"" << demo << "\"\n";
    for (int n = 0; n < 30; n++) {
      file << "[[environments]]\nid = \"" << id << n << "\"\nurl = \"ws://h\"\n";
    }
  }
  const std::string list = leash::environments(path);
  CHECK(list.find("{\"default\":\"a\",\"environments\":[{\"id\":\"a\",\"kind\":\"stdio\"") == 0);
  CHECK(list.find(id + "29") != std::string::npos && list.substr(list.size() - 3) == "}]}");
  for (const char *name : {"a", ""}) {
    connection c = connection::open_environment(path, name);
    event answer = c.call("echo", "[1]");
    CHECK(answer.json() == "[1]");
  }
  CHECK(connection::try_open_environment(path, "c").error().code() == code::invalid);
  unlink(path);
  auto missing = leash::try_environments(path);
  CHECK(!missing && missing.error().code() == code::invalid && missing.error().os_error() == 2);
}

static void moves() {
  connection a = connection::open({demo});
  connection b = std::move(a);
  CHECK(!a && b);
  event e = b.call("echo", "[1]");
  event f = std::move(e);
  CHECK(!e && f.json() == "[1]");
  a = std::move(b);
  b = connection::open({demo});
  CHECK(a.call("echo", "[2]").status() == code::ok);
  a = std::move(b);
}

static void threads_share_a_connection() {
  connection c = connection::open({demo});
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++) {
    threads.emplace_back([&c, &right, t] {
      for (int i = 0; i < 200; i++) {
        std::string text = "[" + std::to_string(t * 1000 + i) + "]";
        event answer = c.call("echo", text);
        right += answer.json() == text;
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(right == 1600);
}

static void an_event_outlives_its_connection() {
  event kept;
  {
    connection c = connection::open({misbehave, "ask:1:q", "sleep-forever"},
                                    leash::options().exit_after(0ms).kill_after(0ms));
    for (event &e : c.events()) {
      if (e.kind() != kind::request) continue;
      kept = std::move(e);
      break;
    }
  }
  CHECK(kept.method() == "q");
  CHECK(kept.try_reply("1").error().code() == code::closed);
}

#ifdef NLOHMANN_JSON_VERSION_MAJOR
static void nlohmann_values() {
  connection c = connection::open({demo});
  nlohmann::json sent = {{"a", {1, 2.5, nullptr}}, {"u", "\xc3\xa4"}};
  CHECK(leash::call(c, "echo", sent) == sent);
  CHECK(leash::parse(c.call("echo", "[1]"))[0] == 1);
  auto refused = leash::try_call(c, "nope", nlohmann::json::array());
  CHECK(!refused && refused.error().rpc_code() == -32601);
  std::puts("nlohmann");
}
#else
static void nlohmann_values() {}
#endif

int main(int argc, char **argv) {
  CHECK(argc == 3);
  demo = argv[1];
  misbehave = argv[2];
  CHECK(leash::version() == leash_version(nullptr, nullptr));
  calls_and_answers();
  argv_comes_from_anything();
  submits_and_waits();
  time_is_any_duration();
  a_range_gives_every_event();
  a_range_ends_with_the_time();
  answers_the_peer();
  options_are_fluent_and_told_late();
  errors_have_an_errno();
  environments_have_names();
  moves();
  threads_share_a_connection();
  an_event_outlives_its_connection();
  nlohmann_values();
  std::puts("fine");
}
