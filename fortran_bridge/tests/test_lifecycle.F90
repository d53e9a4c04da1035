!> Emulators open again after close, live side by side, close themselves, and are not copied.
program test_lifecycle
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_backend, climlink_emulator, climlink_error_argument, &
                      climlink_error_state, climlink_options, climlink_status, climlink_version
  use test_support, only: check, check_error, finish, fixture, gain_ps, n_level, option
  implicit none (type, external)

  type(climlink_emulator) :: first, second
  type(climlink_status) :: status

  call check(len(climlink_version()) > 0 .and. climlink_backend() == 'torchscript', &
             'version and backend')
  call first%open(fixture('column.pt'), status, n_level=n_level)
  call step(first, 1e5_real64)
  call first%close(status)
  call first%open(fixture('column.pt'), status, options=option('micro_batch', '2'))
  call check(status%ok(), 'open again after close')
  call second%open(fixture('climsim_q.pt'), status)
  call check(status%ok() .and. second%level_count() == 60, 'a second emulator')
  call step(first, 9e4_real64)
  call check(first%digest() /= second%digest(), 'two packages')
  call assignment_copies_nothing()
  call leaves_scope()
  call array_of_emulators()
  call constraints_switched_off()
  call engine_is_told()
  call first%close(status)
  call second%close(status)
  call finish()

contains

  subroutine step(emulator, pressure)
    type(climlink_emulator), intent(inout) :: emulator
    real(real64), intent(in) :: pressure
    real(real64) :: profile(1, n_level), scalar(1)

    profile = 1.0_real64
    scalar = pressure
    call emulator%begin(1, status)
    call emulator%set('state_t', profile, 1, status)
    call emulator%set('state_q0001', profile, 1, status)
    call emulator%set('state_ps', scalar, 1, status)
    call emulator%set('pbuf_SOLIN', scalar, 1, status)
    call emulator%run(status)
    call emulator%get('cam_out_PRECC', scalar, 1, status)
    call check(status%ok(), 'step: ' // status%message)
    call check(abs(scalar(1) - gain_ps * pressure) < 1e-6_real64 * gain_ps * pressure, &
               'step of one column')
  end subroutine step

  subroutine assignment_copies_nothing()
    type(climlink_emulator) :: copy

    copy = first
    call check(first%is_open() .and. .not. copy%is_open(), &
               'assignment leaves the right side open and the left side closed')
    call copy%begin(1, status)
    call check_error(status, climlink_error_state, 'assignment does not copy an emulator')
    call step(first, 8e4_real64)
  end subroutine assignment_copies_nothing

  !> Opened in a block and never closed: the final procedure does it.
  subroutine leaves_scope()
    integer :: i

    do i = 1, 20
      block
        type(climlink_emulator) :: local
        call local%open(fixture('column.pt'), status)
        call check(status%ok(), 'local emulator')
      end block
    end do
  end subroutine leaves_scope

  subroutine array_of_emulators()
    type(climlink_emulator), allocatable :: many(:)

    allocate (many(2))
    call many(1)%open(fixture('column.pt'), status)
    call many(2)%open(fixture('column.pt'), status)
    call step(many(1), 7e4_real64)
    call step(many(2), 6e4_real64)
    deallocate (many)
  end subroutine array_of_emulators

  !> What runs, and why not what was asked for: native code that nobody pins.
  subroutine engine_is_told()
    type(climlink_emulator) :: emulator

    call emulator%open(fixture('column.pt'), status)
    call check(emulator%engine() == 'torchscript' .and. emulator%precision_name() == 'float32' &
               .and. emulator%engine_note() == '', 'the usual engine')
    call emulator%close(status)
    call check(emulator%engine() == '', 'a closed emulator has no engine')
    call emulator%open(fixture('column.pt'), status, options=option('compiled', 'nowhere.pt2'))
    call check(status%ok() .and. emulator%engine() == 'torchscript', 'an artefact without a pin')
    call check(index(emulator%engine_note(), 'nowhere.pt2 does not run here') == 1, &
               'the note names it: ' // emulator%engine_note())
    call emulator%close(status)
    call emulator%open(fixture('column.pt'), status, &
                       options=option('compiled_sha256', repeat('0', 64)))
    call check_error(status, climlink_error_argument, 'compiled names no artefact')
  end subroutine engine_is_told

  !> Each of the two constraints of this package doubles its answers.
  subroutine constraints_switched_off()
    character(len=16) :: names(3)

    names = ''
    call check(abs(answer(names) - 4 * gain_ps * 1e5_real64) < 1e-6_real64 * gain_ps * 1e5_real64, &
               'blank names switch nothing off')
    names(2) = 'doubled_again'
    call check(abs(answer(names) - 2 * gain_ps * 1e5_real64) < 1e-6_real64 * gain_ps * 1e5_real64, &
               'one constraint off')
    names(3) = 'doubled'
    call check(abs(answer(names) - gain_ps * 1e5_real64) < 1e-6_real64 * gain_ps * 1e5_real64, &
               'both constraints off')
  end subroutine constraints_switched_off

  !> Precipitation of one column without these constraints; the emulator says which they are.
  function answer(names) result(rain)
    character(len=*), intent(in) :: names(:)
    real(real64) :: rain
    type(climlink_emulator) :: switched
    real(real64) :: profile(1, n_level), scalar(1)
    character(len=:), allocatable :: expected
    type(climlink_options) :: options

    call options%set('constraints_off', names)
    call switched%open(fixture('switched.pt'), status, options=options)
    call check(status%ok(), 'open without constraints: ' // status%message)
    expected = ''
    if (any(names == 'doubled')) expected = 'doubled'
    if (any(names == 'doubled') .and. any(names == 'doubled_again')) expected = expected // ','
    if (any(names == 'doubled_again')) expected = expected // 'doubled_again'
    call check(switched%constraints_off() == expected, &
               'constraints_off: ' // switched%constraints_off())
    profile = 1.0_real64
    scalar = 1e5_real64
    call switched%begin(1, status)
    call switched%set('state_t', profile, 1, status)
    call switched%set('state_q0001', profile, 1, status)
    call switched%set('state_ps', scalar, 1, status)
    call switched%set('pbuf_SOLIN', scalar, 1, status)
    call switched%run(status)
    call switched%get('cam_out_PRECC', scalar, 1, status)
    call check(status%ok(), 'run without constraints: ' // status%message)
    rain = scalar(1)
    call switched%close(status)
    call check(switched%constraints_off() == '', 'nothing is switched off in a closed emulator')
  end function answer

end program test_lifecycle
