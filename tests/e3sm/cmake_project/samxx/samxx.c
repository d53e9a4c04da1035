int samxx_answer(void) { return 42; }
