!> Options by name against what the library publishes, and the group /emulator/ that every host
!! reads: it has an entry for every option that is the user's, with the library's default.
program test_run_options
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_digest, &
                      climlink_error_host, climlink_options, climlink_status
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_host_settings, only: climlink_emulator_settings
  use climlink_run_options, only: library_option, library_options
  use test_support, only: check, check_error, finish, fixture, n_level, option
  implicit none (type, external)

  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  type(library_option), allocatable :: published(:)
  integer :: i

  allocate (published, source=library_options())
  call check(any([(published(i)%set_by == 'user', i=1, size(published))]), &
             'the library publishes options')
  call every_option_can_be_set()
  call values_that_make_no_sense()
  call typed_values()
  call options_reach_the_library()
  call the_group_has_every_user_option()
  call the_group_as_a_user_writes_it()
  call groups_that_make_no_sense()
  call finish()

contains

  !> Its own default is a value that each option takes, and that open opens with.
  subroutine every_option_can_be_set()
    type(climlink_options) :: options, none

    do i = 1, size(published)
      associate (name => published(i)%name, default => published(i)%default)
        call check(none%text(name) == default, 'the default of ' // name)
        call options%set(name, default, status)
        call check(status%ok(), 'set ' // name // ': ' // status%message)
        call check(options%text(name) == default, 'text of ' // name)
      end associate
    end do
    call emulator%open(fixture('column.pt'), status, options=options)
    call check(status%ok(), 'open with every option set: ' // status%message)
    call emulator%close(status)
    call check(none%text('no_such_option') == '', 'text of what is no option')
  end subroutine every_option_can_be_set

  !> Said at once where a status is asked for, else by open.
  subroutine values_that_make_no_sense()
    type(climlink_options) :: options

    call refused('devise', 'cpu', '"devise" is not an option. Near names: device')
    call refused('threads', '0', 'option threads is "0"; expected an integer, 1 or more')
    call refused('threads', 'many', 'option threads is "many"')
    call refused('micro_batch', '1', 'option micro_batch is "1"')
    call refused('trust_code', 'perhaps', 'option trust_code is "perhaps"')
    call refused('pinned_sha256', 'abc', 'option pinned_sha256 is "abc"; expected 64 hexadecimal')
    call refused('device', 'abacus', 'option device is "abacus"')
    call options%set('threads', 0)
    call options%set('threads', 2)
    call emulator%open(fixture('column.pt'), status, options=options)
    call check(status%ok(), 'the last value counts: ' // status%message)
    call emulator%close(status)
  end subroutine values_that_make_no_sense

  subroutine refused(name, value, text)
    character(len=*), intent(in) :: name, value, text
    type(climlink_options) :: options

    call options%set(name, value, status)
    call check_error(status, climlink_error_argument, 'rank 0: set: ' // text)
    call emulator%open(fixture('column.pt'), status, options=option(name, value))
    call check_error(status, climlink_error_argument, 'rank 0: open: ' // text)
    call check(.not. emulator%is_open(), 'closed: ' // name)
  end subroutine refused

  subroutine typed_values()
    type(climlink_options) :: options
    real(real64) :: read_back
    character(len=32) :: text

    call options%set('constraints_off', [character(len=16) :: '', 'night', '', 'positive'], status)
    call check(status%ok() .and. options%text('constraints_off') == 'night,positive', &
               'a list, of which blank names do not count')
    call options%set('trust_code', .true., status)
    call check(status%ok() .and. options%text('trust_code') == 'true', 'a logical')
    call options%set('micro_batch', 128, status)
    call check(status%ok() .and. options%text('micro_batch') == '128', 'an integer')
    call options%set('time_step_s', 1200.0_real64 / 7.0_real64, status)
    text = options%text('time_step_s')
    read (text, *) read_back
    call check(status%ok() .and. abs(read_back - 1200.0_real64 / 7.0_real64) <= 0.0_real64, &
               'a real, all digits of it')
    call options%set('device', 'cpu   ')
    call check(options%text('device') == 'cpu', 'blanks at the end do not count')
  end subroutine typed_values

  !> Each of them changes what open does; the arguments of open go before options.
  subroutine options_reach_the_library()
    type(climlink_options) :: options

    call emulator%open(fixture('column.pt'), status, options=option('level_count', '61'))
    call check_error(status, climlink_error_host, '61')
    call emulator%open(fixture('column.pt'), status, n_level=n_level, &
                       options=option('level_count', '61'))
    call check(status%ok(), 'n_level goes before: ' // status%message)
    call emulator%close(status)
    call emulator%open(fixture('column.pt'), status, options=option('time_step_s', '1e6'))
    call check_error(status, climlink_error_host, '1000000 s')
    call emulator%open(fixture('column.pt'), status, &
                       options=option('pinned_sha256', repeat('a', 64)))
    call check_error(status, climlink_error_digest, repeat('a', 64))
    call options%set('constraints_off', ['doubled_again', 'doubled      '])
    call emulator%open(fixture('switched.pt'), status, options=options)
    call check(status%ok() .and. emulator%constraints_off() == 'doubled,doubled_again', &
               'a list of names: ' // status%message)
    call emulator%close(status)
  end subroutine options_reach_the_library

  !> Written as --list-settings shows it, with the defaults; names in the group are lower or upper
  !! case, as compilers write them.
  subroutine the_group_has_every_user_option()
    type(climlink_emulator_settings) :: settings
    type(climlink_options) :: options, none
    character(len=4096) :: line
    character(len=:), allocatable :: text
    integer :: unit, failed

    call settings%set_defaults()
    open (newunit=unit, status='scratch', action='readwrite', delim='quote')
    call settings%transfer_group(unit, .true., failed, line)
    call check(failed == 0, 'the group is written')
    rewind (unit)
    text = ''
    do
      read (unit, '(a)', iostat=failed) line
      if (failed /= 0) exit
      text = text // new_line(' ') // lower(trim(adjustl(line)))
    end do
    call check(index(text, new_line(' ') // '&emulator') > 0, 'the name of the group')
    options = settings%options()
    do i = 1, size(published)
      associate (name => published(i)%name)
        if (published(i)%set_by == 'user') then
          call check(index(text, new_line(' ') // name // '=') > 0, name // ' is an entry')
        else
          call check(index(text, new_line(' ') // name // '=') == 0, name // ' is no entry')
        end if
        call check(same(options%text(name), published(i)%default, published(i)%type), &
                   name // ': the group''s default')
        call check(same(options%text(name), none%text(name), published(i)%type), &
                   name // ': the same twice')
      end associate
    end do
    rewind (unit)
    settings%package = 'other'
    settings%micro_batch = 3
    call settings%transfer_group(unit, .false., failed, line)
    close (unit)
    call check(failed == 0 .and. settings%package == '' .and. settings%micro_batch /= 3, &
               'what was written can be read: ' // trim(line))
  end subroutine the_group_has_every_user_option

  !> Numbers have more than one spelling.
  function same(a, b, type)
    character(len=*), intent(in) :: a, b, type
    logical :: same
    real(real64) :: numbers(2)

    same = a == b
    if (type /= 'real') return
    read (a, *) numbers(1)
    read (b, *) numbers(2)
    same = abs(numbers(1) - numbers(2)) <= 0.0_real64
  end function same

  !> Every entry another value than the default: options and policy are what the group says.
  subroutine the_group_as_a_user_writes_it()
    type(climlink_emulator_settings) :: settings
    type(climlink_coupling_policy) :: policy
    type(climlink_options) :: options
    integer :: failed
    character(len=256) :: message

    call read_group(settings, failed, message, &
      "package='wrap_model.pt', package_name='mine', device='cuda:3', threads=5, " // &
      "micro_batch=7, pinned_sha256='abc', constraints_off='night', 'positive', " // &
      "tuning='t.json', compiled='c.pt2', compiled_sha256='def', " // &
      'device_memory_fraction=0.25, cuda_graphs=.true., ' // &
      "trust_code=.true., group_size=3, group_timeout_s=17, mode='partial', " // &
      "variables='ptend_t', 'ptend_u', " // &
      "feedback='emulator', spin_up_steps=9, " // &
      "ramp='linear', ramp_factor=0.25, ramp_steps=11, ramp_on_steps=13, ramp_off_steps=15, " // &
      "vertical_remap='conservative'")
    call check(failed == 0, 'read: ' // trim(message))
    options = settings%options()
    call check(options%text('device') == 'cuda:3' .and. options%text('threads') == '5' .and. &
               options%text('micro_batch') == '7' .and. options%text('pinned_sha256') == 'abc' &
               .and. options%text('constraints_off') == 'night,positive' .and. &
               options%text('trust_code') == 'true' .and. options%text('tuning') == 't.json' &
               .and. options%text('compiled') == 'c.pt2' .and. &
               options%text('compiled_sha256') == 'def' .and. &
               options%text('cuda_graphs') == 'true' .and. options%text('group_size') == '3' .and. &
               options%text('group_timeout_s') == '17', 'options')
    do i = 1, size(published)
      if (published(i)%set_by == 'user') call check(options%text(published(i)%name) /= &
        published(i)%default, 'this test sets ' // published(i)%name)
    end do
    policy = settings%policy()
    call check(policy%mode == 'partial' .and. size(policy%variables) == 2 .and. &
               policy%variables(2) == 'ptend_u' .and. policy%feedback == 'emulator' .and. &
               policy%spin_up_steps == 9, 'policy')
    call check(policy%ramp == 'linear' .and. abs(policy%ramp_factor - 0.25_real64) <= 0.0_real64 &
               .and. policy%ramp_steps == 11 .and. policy%ramp_on_steps == 13 .and. &
               policy%ramp_off_steps == 15, 'ramp')
    call check(settings%package == 'wrap_model.pt' .and. settings%package_name == 'mine' .and. &
               settings%vertical_remap == 'conservative', 'the rest')
    call read_group(settings, failed, message, '')
    policy = settings%policy()
    call check(failed == 0 .and. size(policy%variables) == 0 .and. policy%mode == 'full', &
               'an empty group is all defaults')
  end subroutine the_group_as_a_user_writes_it

  subroutine groups_that_make_no_sense()
    type(climlink_emulator_settings) :: settings
    integer :: failed
    character(len=256) :: message

    call read_group(settings, failed, message, 'micro_bath=7')
    call check(failed /= 0 .and. index(lower(message), 'micro_bath') > 0, &
               'an entry that is none is named: ' // trim(message))
    call read_group(settings, failed, message, "threads='many'")
    call check(failed /= 0 .and. len_trim(message) > 0, 'an entry of another type')
  end subroutine groups_that_make_no_sense

  subroutine read_group(settings, failed, message, entries)
    type(climlink_emulator_settings), intent(out) :: settings
    integer, intent(out) :: failed
    character(len=256), intent(out) :: message
    character(len=*), intent(in) :: entries
    integer :: unit

    message = ''
    call settings%set_defaults()
    open (newunit=unit, status='scratch', action='readwrite')
    write (unit, '(a)') '&emulator', entries, '/'
    rewind (unit)
    call settings%transfer_group(unit, .false., failed, message)
    close (unit)
  end subroutine read_group

  pure function lower(text) result(small)
    character(len=*), intent(in) :: text
    character(len=len(text)) :: small
    integer :: k

    small = text
    do k = 1, len(text)
      if (text(k:k) >= 'A' .and. text(k:k) <= 'Z') small(k:k) = achar(iachar(text(k:k)) + 32)
    end do
  end function lower

end program test_run_options
