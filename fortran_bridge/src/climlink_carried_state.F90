!> The state of an emulator with memory: outputs of a step that are inputs of the next one, and the
!! input `start` that says where there is no step before. The host owns this state and keeps it in
!! its restart; this module is how any host does it.
!!
!! Per step of the host in which the emulator runs:
!!
!!     call emulator%begin(n_sample, status)
!!     ...                                          ! every input that carried%owns does not name
!!     call carried%send(emulator, status)          ! `start` and the carried inputs
!!     call emulator%run(status)
!!     call carried%receive(emulator, status)       ! the carried outputs, for the next step
!!
!! After steps in which the emulator did not run, begin_again: the state is then of another time.
!! Between steps, pack_state gives everything a restart needs as one vector per sample, which may be
!! gathered in the order of all samples and spread over other ranks. Every call takes an optional
!! status, as those of the emulator do.
module climlink_carried_state
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_c_binding, only: c_int64_t
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use climlink_array_views, only: view_of
  use climlink_c_api, only: c_array, c_characters, climlink_get_c, climlink_set_c
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_shape, climlink_error_state, &
                             climlink_status, failure, outcome_of
  use climlink_parallel, only: process_rank, settle
  use climlink_queries, only: handle_of
  use climlink_variables, only: climlink_variable
  implicit none (type, external)
  private

  public :: climlink_carried

  character(len=*), parameter :: start_role = 'start'

  !> One carried pair.
  type :: carried_pair
    character(len=:), allocatable :: input, output
    integer, allocatable :: extents(:)                   !! [sample, dims...]
    real(real64), allocatable :: values(:)               !! In the order of such an array.
  end type carried_pair

  type :: climlink_carried
    private
    character(len=:), allocatable :: start_name
    type(carried_pair), allocatable :: pairs(:)          !! Not allocated before initialize.
    real(real64), allocatable :: start(:)                !! [sample], 1 where one begins, else 0.
    logical :: is_sent = .false.                         !! send was called, receive not yet.
  contains
    procedure :: initialize, has_state, owns
    procedure, nopass :: steps_needed
    procedure :: send, receive, begin_again, state_size, pack_state, unpack_state
  end type climlink_carried

contains

  !> Makes room for the samples of this rank, which all begin; 0 samples are legal. A package
  !! without carried state leaves has_state false.
  subroutine initialize(self, emulator, n_sample, status)
    class(climlink_carried), intent(inout) :: self
    type(climlink_emulator), intent(in) :: emulator      !! Open.
    integer, intent(in) :: n_sample
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    character(len=64) :: text
    integer :: i

    if (.not. emulator%is_open()) then
      outcome = refusal(climlink_error_state, &
                        'initialize: the emulator is not open; call open first')
    else if (n_sample < 0) then
      write (text, '(a,i0,a)') 'initialize: ', n_sample, ' samples; expected 0 or more'
      outcome = refusal(climlink_error_argument, trim(text))
    else
      if (allocated(self%pairs)) deallocate (self%pairs, self%start)
      allocate (self%pairs(emulator%carried_count()), self%start(n_sample))
      do i = 1, size(self%pairs)
        self%pairs(i) = new_pair(emulator, i, n_sample)
      end do
      self%start_name = name_of_start(emulator)
      call self%begin_again()
    end if
    call settle(outcome, status)
  end subroutine initialize

  function new_pair(emulator, i, n_sample) result(pair)
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(in) :: i, n_sample
    type(carried_pair) :: pair
    type(climlink_variable) :: input
    integer :: k

    pair%input = emulator%carried_input(i)
    pair%output = emulator%carried_output(i)
    do k = 1, emulator%n_input()
      input = emulator%input(k)
      if (input%name /= pair%input) cycle
      allocate (pair%extents(1 + size(input%sizes)), source=[n_sample, input%sizes])
    end do
    allocate (pair%values(product(int(pair%extents, int64))), source=0.0_real64)
  end function new_pair

  function name_of_start(emulator) result(name)
    type(climlink_emulator), intent(in) :: emulator
    character(len=:), allocatable :: name
    type(climlink_variable) :: input
    integer :: k

    name = ''
    do k = 1, emulator%n_input()
      input = emulator%input(k)
      if (input%role == start_role) name = input%name
    end do
  end function name_of_start

  !> True if the package that initialize was given carries state.
  pure function has_state(self) result(yes)
    class(climlink_carried), intent(in) :: self
    logical :: yes

    yes = .false.
    if (allocated(self%pairs)) yes = size(self%pairs) > 0
  end function has_state

  !> True if an input of this name is `start` or carried: send sets it, the host does not.
  pure function owns(self, name) result(yes)
    class(climlink_carried), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes
    integer :: i

    yes = .false.
    if (.not. self%has_state()) return
    yes = self%start_name == name
    do i = 1, size(self%pairs)
      yes = yes .or. self%pairs(i)%input == name
    end do
  end function owns

  !> Steps of the host before the emulator can start: none, `start` says that a sample begins.
  pure function steps_needed() result(n)
    integer :: n

    n = 0
  end function steps_needed

  !> Gives the emulator `start` and all carried inputs of a step that has begun.
  subroutine send(self, emulator, status)
    class(climlink_carried), intent(inout), target :: self
    type(climlink_emulator), intent(inout) :: emulator   !! The one that initialize was given.
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: i

    call check_state(self, 'send', outcome)
    if (outcome%ok()) call emulator%set(self%start_name, self%start, 1, outcome)
    if (outcome%ok()) then
      do i = 1, size(self%pairs)
        outcome = outcome_of(climlink_set_c(handle_of(emulator), &
                                            c_characters(self%pairs(i)%input), &
                                            view_of_pair(self%pairs(i)), 0_c_int64_t), &
                             process_rank(), 'set')
        if (.not. outcome%ok()) exit
      end do
    end if
    self%is_sent = outcome%ok()
    if (.not. outcome%ok()) call emulator%leave_step(outcome%message)
    call settle(outcome, status)
  end subroutine send

  !> Takes the carried outputs of a step that ran; no sample begins any more.
  subroutine receive(self, emulator, status)
    class(climlink_carried), intent(inout), target :: self
    type(climlink_emulator), intent(in) :: emulator      !! The one that initialize was given.
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: i

    call check_state(self, 'receive', outcome)
    if (outcome%ok() .and. .not. self%is_sent) then
      outcome = refusal(climlink_error_state, 'receive: call send first')
    else if (outcome%ok() .and. .not. emulator%is_open()) then
      outcome = refusal(climlink_error_state, 'receive: the emulator is not open')
    end if
    if (outcome%ok()) then
      do i = 1, size(self%pairs)
        outcome = outcome_of(climlink_get_c(handle_of(emulator), &
                                            c_characters(self%pairs(i)%output), &
                                            view_of_pair(self%pairs(i)), 0_c_int64_t), &
                             process_rank(), 'get')
        if (.not. outcome%ok()) exit
      end do
    end if
    if (outcome%ok()) then
      self%start = 0.0_real64
      self%is_sent = .false.
    end if
    call settle(outcome, status)
  end subroutine receive

  !> Lets every sample begin: `start` is 1 in the next step. For steps without the emulator.
  pure subroutine begin_again(self)
    class(climlink_carried), intent(inout) :: self
    integer :: i

    self%is_sent = .false.
    if (.not. allocated(self%pairs)) return
    self%start = 1.0_real64
    do i = 1, size(self%pairs)
      self%pairs(i)%values = 0.0_real64
    end do
  end subroutine begin_again

  !> The values of a pair as the array [sample, dims...] that they are.
  function view_of_pair(pair) result(view)
    type(carried_pair), target, intent(in) :: pair
    type(c_array) :: view
    type(climlink_status) :: outcome
    integer(c_int64_t) :: stride
    integer :: k

    call view_of(pair%input, pair%values, 0, 'view', view, outcome)    ! of rank 1: always possible
    stride = view%stride(1)
    view%rank = size(pair%extents)
    do k = 1, size(pair%extents)
      view%extent(k) = pair%extents(k)
      view%stride(k) = stride
      stride = stride * max(1, pair%extents(k))
    end do
  end function view_of_pair

  !> Numbers per sample that a restart keeps; 0 without carried state.
  pure function state_size(self) result(n)
    class(climlink_carried), intent(in) :: self
    integer :: n
    integer :: i

    n = 0
    if (.not. self%has_state()) return
    n = 1
    do i = 1, size(self%pairs)
      n = n + product(self%pairs(i)%extents(2:))
    end do
  end function state_size

  !> All that an exact restart needs [state_size, sample], between steps. Samples may be gathered
  !! and spread over other ranks.
  subroutine pack_state(self, state, status)
    class(climlink_carried), intent(in) :: self
    real(real64), intent(out) :: state(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: i, at, width

    call check_buffer(self, 'pack_state', shape(state), outcome)
    if (outcome%ok()) then
      state(1, :) = self%start
      at = 1
      do i = 1, size(self%pairs)
        width = product(self%pairs(i)%extents(2:))
        state(at + 1:at + width, :) = transpose(reshape(self%pairs(i)%values, &
                                                        [size(self%start), width]))
        at = at + width
      end do
    end if
    call settle(outcome, status)
  end subroutine pack_state

  !> Goes on from what pack_state wrote, of the samples of this rank.
  subroutine unpack_state(self, state, status)
    class(climlink_carried), intent(inout) :: self
    real(real64), intent(in) :: state(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: i, at, width

    call check_buffer(self, 'unpack_state', shape(state), outcome)
    if (outcome%ok()) call check_values(state, outcome)
    if (outcome%ok()) then
      self%start = state(1, :)
      at = 1
      do i = 1, size(self%pairs)
        width = product(self%pairs(i)%extents(2:))
        self%pairs(i)%values = reshape(transpose(state(at + 1:at + width, :)), &
                                       [width * size(self%start)])
        at = at + width
      end do
    end if
    call settle(outcome, status)
  end subroutine unpack_state

  !> An unwritten or foreign restart holds anything; to compare a NaN would end a host that traps
  !! invalid operations.
  subroutine check_values(state, outcome)
    real(real64), intent(in) :: state(:, :)
    type(climlink_status), intent(inout) :: outcome
    logical :: is_state

    is_state = all(ieee_is_finite(state))
    if (is_state) is_state = all(abs(state(1, :)) <= 0.0_real64 .or. &
                                 abs(state(1, :) - 1.0_real64) <= 0.0_real64)
    if (.not. is_state) then
      outcome = refusal(climlink_error_argument, &
                        'unpack_state: the samples are not those of a restart: ' // &
                        'every value is finite and the first of a sample, `start`, is 0 or 1')
    end if
  end subroutine check_values

  !> There is state to keep.
  subroutine check_state(self, doing, outcome)
    class(climlink_carried), intent(in) :: self
    character(len=*), intent(in) :: doing
    type(climlink_status), intent(out) :: outcome

    if (.not. allocated(self%pairs)) then
      outcome = refusal(climlink_error_state, doing // ': call initialize first')
    else if (.not. self%has_state()) then
      outcome = refusal(climlink_error_state, &
                        doing // ': the package carries no state; ask has_state() first')
    end if
  end subroutine check_state

  !> The state may leave or come: no step is under way, and the array is as large as it must be.
  subroutine check_buffer(self, doing, given, outcome)
    class(climlink_carried), intent(in) :: self
    character(len=*), intent(in) :: doing
    integer, intent(in) :: given(2)
    type(climlink_status), intent(out) :: outcome
    character(len=128) :: text

    call check_state(self, doing, outcome)
    if (.not. outcome%ok()) return
    if (self%is_sent) then
      outcome = refusal(climlink_error_state, &
                        doing // ': a step is under way; call receive or begin_again first')
    else if (any(given /= [self%state_size(), size(self%start)])) then
      write (text, '(4(a,i0))') ': the state must be of shape ', self%state_size(), ',', &
        size(self%start), ', not ', given(1), ',', given(2)
      outcome = refusal(climlink_error_shape, doing // trim(text))
    end if
  end subroutine check_buffer

  function refusal(code, message) result(status)
    integer, intent(in) :: code
    character(len=*), intent(in) :: message
    type(climlink_status) :: status

    status = failure(code, process_rank(), 'carried state: ' // message)
  end function refusal

end module climlink_carried_state
